"""Every corpus that ``vtb data prepare`` knows: where it is published, its licence, and how it is read."""

from collections.abc import Mapping
from dataclasses import dataclass

from nemo_vtb.data.corpora import layouts, lhotse_recipes
from nemo_vtb.data.corpora.rows import Read
from nemo_vtb.data.corpora.text import chats


@dataclass(frozen=True)
class Corpus:
    """A public corpus.

    Attributes:
        published: Where its makers have it, or its id on a hub.
        licence: As its makers state it; read theirs before use.
        read: Reads a local copy.
    """

    published: str
    licence: str
    read: Read


CORPORA: Mapping[str, Corpus] = {
    "librispeech": Corpus("openslr.org/12", "CC BY 4.0", lhotse_recipes.librispeech),
    "mls": Corpus("openslr.org/94", "CC BY 4.0", lhotse_recipes.mls),
    "common_voice": Corpus("commonvoice.mozilla.org", "CC0 1.0", lhotse_recipes.common_voice),
    "fleurs": Corpus("google/fleurs", "CC BY 4.0", lhotse_recipes.fleurs),
    "voxpopuli": Corpus("github.com/facebookresearch/voxpopuli", "CC0 1.0", layouts.voxpopuli),
    "gigaspeech": Corpus("github.com/SpeechColab/GigaSpeech", "terms of SpeechColab, not for sale", layouts.gigaspeech),
    "covost2": Corpus("github.com/facebookresearch/covost", "CC0 1.0 (translations CC BY-NC 4.0)", layouts.covost2),
    "europarl_st": Corpus("mllp.upv.es/europarl-st", "CC BY-NC 4.0", layouts.europarl_st),
    "spoken_squad": Corpus("github.com/Chia-Hsuan-Lee/Spoken-SQuAD", "CC BY-SA 4.0 of SQuAD", layouts.spoken_squad),
    "slurp": Corpus("github.com/pswietojanski/slurp", "text CC BY 4.0, audio CC BY-NC 4.0", layouts.slurp),
    "ultrachat": Corpus("HuggingFaceH4/ultrachat_200k", "MIT", chats),
    "openhermes": Corpus("teknium/OpenHermes-2.5", "not stated; sources differ", chats),
    "magpie": Corpus("Magpie-Align/Magpie-Gemma2-Pro-200K-Filtered", "Gemma terms", chats),
    "tulu": Corpus("allenai/tulu-3-sft-mixture", "ODC-BY 1.0; sources differ", chats),
}
