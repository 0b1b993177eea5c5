"""What blend.py mixes: the shipped corpora as one file of conversations per kind, which NeMo and nemo_vtb both read."""

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from nemo.collections.common.tokenizers import AutoTokenizer

from nemo_vtb import registry
from nemo_vtb.assets import resolve
from nemo_vtb.data.conversations.size import size_of
from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.sources.source import Reading, read_sources
from nemo_vtb.parts.prompts.turn_mask import EncodedConversation

AUDIO_TAG, FRAME_SECONDS, PROMPT_FORMAT = "<|audio|>", 0.08, "qwen"
SHARES = {"text": 0.15, "asr": 0.25, "ast": 0.15, "sqa": 0.20, "mixed": 0.25}
_TRAIN = {"split": "train"}
_COMMANDS, _PROMPTS = "corpora:spoken_commands", "corpora:asterisk_prompts"
_SOURCES: dict[str, list[dict[str, Any]]] = {
    "text": [{"manifest_filepath": "corpora:smollm2_chat/train.jsonl"}],
    "asr": [
        {"type": "nemo", "manifest_filepath": f"{c}/manifest.jsonl", "only": _TRAIN} for c in (_COMMANDS, _PROMPTS)
    ],
    "ast": [{"type": "nemo", "manifest_filepath": f"{c}/ast.jsonl", "only": _TRAIN} for c in (_COMMANDS, _PROMPTS)],
    "sqa": [{"manifest_filepath": f"{_COMMANDS}/sqa.jsonl", "only": _TRAIN}],
    "mixed": [{"manifest_filepath": f"{_COMMANDS}/mixed.jsonl", "only": _TRAIN}],
}


@dataclass(frozen=True)
class Known:
    """What a conversation weighs, measured once for ours and NeMo alike.

    Attributes:
        kind: Its kind.
        encoded: Token ids and loss mask.
        frames: LLM positions of each clip.
        total: LLM positions, audio frames included.
        supervised: Positions that are learnt.
    """

    kind: str
    encoded: EncodedConversation
    frames: list[int]
    total: int
    supervised: int


@dataclass(frozen=True)
class Corpus:
    """Five files with the same conversations for everybody.

    Attributes:
        paths: A file per kind; line n of kind k has the id ``k:n``.
        tokenizer: SmolLM2's, with the audio placeholder.
        dataset: Ours; weighs conversations and makes our batches.
        known: Every conversation by its id.
    """

    paths: dict[str, Path]
    tokenizer: Any
    dataset: VTBDataset
    known: dict[str, Known]

    def rows(self, kind: str) -> int:
        """Number of a kind's conversations."""
        return sum(known.kind == kind for known in self.known.values())

    def mean(self, kind: str, field: str) -> float:
        """Mean ``total`` or ``supervised`` length of a kind's conversations."""
        lengths = [getattr(known, field) for known in self.known.values() if known.kind == kind]
        return sum(lengths) / len(lengths)


def write_corpus(folder: Path) -> Corpus:
    """Writes the files and weighs every conversation."""
    registry.register()
    tokenizer = AutoTokenizer(resolve("smollm2-135m-instruct"), use_fast=True)
    tokenizer.add_special_tokens({"additional_special_tokens": [AUDIO_TAG]})
    dataset = VTBDataset(tokenizer, PROMPT_FORMAT, AUDIO_TAG)
    reading = Reading(AUDIO_TAG, FRAME_SECONDS, max_bad_share=0.05)
    paths, known = {}, {}
    for kind, entries in _SOURCES.items():
        paths[kind] = folder / f"{kind}.jsonl"
        with paths[kind].open("w", encoding="utf-8") as file:
            sources = read_sources(entries, kind, reading)
            drawn = [source.draw(row, 0) for source in sources for row in range(len(source))]
            # NeMo shuffles through a buffer: one corpus behind the other would come one after the other.
            Random(0).shuffle(drawn)
            for line, conversation in enumerate(drawn, start=1):
                name = f"{kind}:{line}"
                row = {"id": name, "conversations": [_turn(turn) for turn in conversation.turns]}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                encoded = dataset.encode(conversation)
                size = size_of(encoded, conversation, FRAME_SECONDS)
                frames = [-int(-cut.duration // FRAME_SECONDS) for cut in conversation.list_cuts()]
                known[name] = Known(kind, encoded, frames, size.total, size.supervised)
    return Corpus(paths, tokenizer, dataset, known)


def _turn(turn: Any) -> dict[str, Any]:
    if not hasattr(turn, "cut"):
        return {"from": turn.role.capitalize(), "type": "text", "value": turn.value}
    path = str(Path(turn.cut.recording.sources[0].source).absolute())
    return {"from": turn.role.capitalize(), "type": "audio", "value": path, "duration": turn.cut.duration}
