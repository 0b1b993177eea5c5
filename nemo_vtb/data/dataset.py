"""Conversations to a batch: audio, token ids, loss mask, kinds."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lhotse import CutSet
from lhotse.utils import fastcopy
from nemo.collections.common.prompts import PromptFormatter
from nemo.collections.common.tokenizers import AutoTokenizer
from nemo.collections.speechlm2.data.salm_dataset import SALMDataset, left_collate_vectors

from nemo_vtb.data.kinds import kind_of
from nemo_vtb.errors import VTBError
from nemo_vtb.parts.turn_mask import EncodedConversation, encode_turns, merged_turns

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation

SAMPLE_RATE = 16_000


class VTBDataset(SALMDataset):
    """SALMDataset whose batches may hold any mix of kinds, and which never repeats or drops one in silence.

    The batch has SALM's keys (``audios``, ``audio_lens``, ``input_ids``, ``loss_mask``, ``conversations``) and:

    * ``audio_ids``: unique name of each clip,
    * ``encoded``: unpadded ids and masks on the host,
    * ``kinds``: kind of each conversation,
    * ``transcripts``: token ids spoken in each clip, None where the data does not say.

    Args:
        tokenizer: The model's tokenizer, the audio placeholder included.
        prompt_format: A NeMo prompt format name. Without one, ids and masks must come with the conversations, as NeMo's
            own loaders attach them; the data module sets it from ``data.train_ds.prompt_format``.
    """

    def __init__(self, tokenizer: AutoTokenizer, prompt_format: str | None = None) -> None:
        super().__init__(tokenizer)
        self.prompt_format = prompt_format

    def encode(self, conversation: "NeMoMultimodalConversation") -> EncodedConversation:
        """Token ids and loss mask of one conversation."""
        if self.prompt_format is None:
            return EncodedConversation(np.asarray(conversation.input_ids), np.asarray(conversation.mask))
        tag = next((turn.audio_locator_tag for turn in conversation.turns if hasattr(turn, "cut")), None)
        formatter = PromptFormatter.resolve(self.prompt_format)(self.tokenizer)
        return encode_turns(merged_turns(conversation, tag or _special_tag(self.tokenizer)), formatter)

    def __getitem__(self, conversations: Iterable["NeMoMultimodalConversation"]) -> dict[str, Any]:
        """Collates a batch.

        Raises:
            VTBError: Names the conversation whose audio cannot be read.
        """
        batch = [_with_unique_cuts(conversation) for conversation in conversations]
        cuts = [cut for conversation in batch for cut in conversation.list_cuts()]
        audios, audio_lens = _load(cuts)
        encoded = [self.encode(conversation) for conversation in batch]
        return {
            "audios": audios,
            "audio_lens": audio_lens,
            "audio_ids": [cut.id.split("#", 1)[1] for cut in cuts],
            "input_ids": left_collate_vectors([e.input_ids for e in encoded], padding_value=self.pad_id),
            "loss_mask": left_collate_vectors([e.loss_mask for e in encoded], padding_value=0).bool(),
            "encoded": encoded,
            # A CutSet, as in SALM: Lightning would copy a list's conversations, cuts and all, to move them to a device.
            "conversations": CutSet(batch),
            "kinds": [kind_of(conversation) for conversation in batch],
            "transcripts": [self._transcript(turn) for c in batch for turn in c.turns if hasattr(turn, "cut")],
        }

    def _transcript(self, turn: Any) -> np.ndarray | None:
        # With the space that a word has inside a sentence: those are the tokens the LLM knows best.
        return np.asarray(self.tokenizer.text_to_ids(f" {turn.text}"), dtype=np.int64) if turn.text else None


def _with_unique_cuts(conversation: "NeMoMultimodalConversation") -> "NeMoMultimodalConversation":
    """Numbers the cuts, so that clips that share an id elsewhere stay apart; the name follows behind ``#``."""
    turns = [
        fastcopy(turn, cut=turn.cut.with_id(f"{number}#{_clip_name(turn.cut)}")) if hasattr(turn, "cut") else turn
        for number, turn in enumerate(conversation.turns)
    ]
    return fastcopy(conversation, turns=turns)


def _clip_name(cut: Any) -> str:
    """The file and the span within it: what the clip is, whatever its reader called it."""
    source = cut.recording.sources[0]
    origin = source.source if source.type == "file" else cut.id
    return f"{origin}@{cut.start:.3f}+{cut.duration:.3f}"


def _load(cuts: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    if not cuts:
        return torch.zeros(0), torch.zeros(0, dtype=torch.long)
    signals = []
    for cut in cuts:
        try:
            audio = cut.resample(SAMPLE_RATE).load_audio()
        except Exception as error:
            raise VTBError(f"audio {cut.id.split('#', 1)[1]} cannot be read: {error}") from error
        signals.append(torch.from_numpy(audio.mean(axis=0)))
    lengths = torch.tensor([len(signal) for signal in signals])
    return torch.nn.utils.rnn.pad_sequence(signals, batch_first=True), lengths


def _special_tag(tokenizer: AutoTokenizer) -> str:
    """The audio placeholder, found among the tokenizer's added tokens: text must not name it by accident."""
    added = list(tokenizer.tokenizer.added_tokens_encoder)
    return added[-1] if added else "<|audio|>"
