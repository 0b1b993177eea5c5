"""The conversations of step_vs_salm.py and how each arm groups them into batches."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

AUDIO_TAG = "<|audio|>"
FRAME_SECONDS = 0.08
# By conversations: the paper's 15 % of text, the split of audio among its kinds as in conf/canary_gemma.yaml.
SHARES = {"text": 0.15, "asr": 0.25, "ast": 0.15, "sqa": 0.20, "mixed": 0.25}
_ASKED = {"asr": "Transcribe the audio.", "ast": "Translate the audio into Spanish."}
_PROMPT_FORMAT = "chatml"
_LONGEST_CLIP = 30.0  # seconds that Whisper takes


@dataclass(frozen=True)
class Length:
    """LLM positions of a conversation, audio frames included, how many of them are targets, and its audio."""

    total: int
    supervised: int
    audio_seconds: float

    @property
    def has_audio(self) -> bool:
        return self.audio_seconds > 0


def corpus_mix(tokenizer: Any, count: int, seed: int) -> list[Any]:
    """Draws from the shipped corpora: chat, prompts recorded by people in five languages, spoken commands."""
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.paths import corpora_dir

    rng = np.random.default_rng(seed)
    dataset = VTBDataset(tokenizer, _PROMPT_FORMAT, AUDIO_TAG)
    files = {
        "text": "smollm2_chat/train.jsonl",
        "asr": "asterisk_prompts/manifest.jsonl",
        "ast": "spoken_commands/ast.jsonl",
        "sqa": "spoken_commands/sqa.jsonl",
        "mixed": "spoken_commands/mixed.jsonl",
    }
    drawn = []
    for kind, share in SHARES.items():
        path = corpora_dir() / files[kind]
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        rows = [row for row in rows if row.get("duration", 0) <= _LONGEST_CLIP]
        for number in rng.choice(len(rows), round(count * share), replace=False):
            turns = [_turn(part, path.parent) for part in _parts(kind, rows[number])]
            drawn.append(_conversation(len(drawn), kind, turns))
    for conversation in drawn:
        encoded = dataset.encode(conversation)
        _attach(conversation, encoded.input_ids, encoded.loss_mask)
    rng.shuffle(drawn)
    return drawn


def random_mix(tokenizer: Any, vocabulary: int, count: int, seed: int, folder: Path, scale: float = 1.0) -> list[Any]:
    """Draws random ids and noise, for random weights: log-normal lengths as a joint mix has them.

    Clips have a median of 6 s (at most 30 s), answers to them one of 24 tokens; text conversations one of 300 tokens
    (at most 2000), half of them supervised. ``scale`` shortens all of it.
    """
    import soundfile

    rng = np.random.default_rng(seed)
    placeholder = tokenizer.token_to_id(AUDIO_TAG)

    def drawn_around(median: float, most: float) -> float:
        return scale * min(most, median * rng.lognormal(0.0, 0.7))

    def ids(number: int) -> np.ndarray:
        return rng.integers(placeholder + 1, vocabulary, number)

    drawn = []
    for kind, share in SHARES.items():
        for _ in range(round(count * share)):
            medians = ((150, 1000), (150, 1000)) if kind == "text" else ((20, 100), (24, 400))
            question, answer = (ids(max(2, round(drawn_around(*median)))) for median in medians)
            turns = []
            if kind != "text":
                path = folder / f"{len(drawn)}.wav"
                soundfile.write(path, rng.normal(0, 0.1, int(16000 * max(0.5, drawn_around(6, 30)))), 16000)
                turns.append(_turn({"type": "audio", "value": str(path)}, folder))
                question = np.concatenate([question, [placeholder]])
            turns += [_turn({"type": "text", "value": ".", "from": role}, folder) for role in ("User", "Assistant")]
            drawn.append(_conversation(len(drawn), kind, turns))
            mask = np.arange(len(question) + len(answer)) >= len(question)
            _attach(drawn[-1], np.concatenate([question, answer]), mask)
    rng.shuffle(drawn)
    return drawn


def length_of(conversation: Any) -> Length:
    """Measures a conversation that carries its ids and mask."""
    from nemo_vtb.data.conversations.size import size_of
    from nemo_vtb.parts.prompts.turn_mask import EncodedConversation

    size = size_of(
        EncodedConversation(np.asarray(conversation.input_ids), np.asarray(conversation.mask)),
        conversation,
        FRAME_SECONDS,
    )
    return Length(size.total, size.supervised, size.audio_seconds)


def static_batches(lengths: Sequence[Length], per_batch: int) -> list[list[int]]:
    """Batches of a fixed number of conversations as they come, each with at least one clip.

    Stock SALM crashes on a batch without audio.
    """
    order = list(range(len(lengths)))
    batches = [order[start : start + per_batch] for start in range(0, len(order), per_batch)]
    for batch in batches:
        if not any(lengths[i].has_audio for i in batch):
            donor = max(batches, key=lambda other: sum(lengths[i].has_audio for i in other))
            taken = next(i for i in donor if lengths[i].has_audio)
            donor[donor.index(taken)], batch[0] = batch[0], taken
    return batches


def bucketed_batches(lengths: Sequence[Length], number: int) -> list[list[int]]:
    """As many batches of like length under one budget of padded positions, each with at least one clip.

    Sorting all conversations by length is what ever finer buckets come to: no bucketing pads less.
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i].total)
    longest = lengths[order[-1]].total
    return _first_at_most(number, lambda budget: _fill(lengths, order, budget), longest)


def _first_at_most(number: int, made: Callable[[int], list[list[int]]], low: int) -> list[list[int]]:
    """What the smallest budget makes that gives at most ``number`` batches."""
    high = low
    while len(made(high)) > number:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(made(middle)) <= number else (middle + 1, high)
    return made(high)


def _fill(lengths: Sequence[Length], order: Sequence[int], budget: int) -> list[list[int]]:
    batches: list[list[int]] = [[]]
    for i in order:
        full = (len(batches[-1]) + 1) * lengths[i].total > budget
        if full and any(lengths[j].has_audio for j in batches[-1]):
            batches.append([])
        batches[-1].append(i)
    if not any(lengths[j].has_audio for j in batches[-1]):
        batches[-2:] = [batches[-2] + batches[-1]]
    return batches


def _parts(kind: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    if kind not in _ASKED:
        return row["conversations"]
    heard = {"from": "User", "type": "audio", "value": row["audio_filepath"]}
    answer = row["translation"] if kind == "ast" else row["text"]
    asked = {"from": "User", "type": "text", "value": _ASKED[kind]}
    return [asked, heard, {"from": "Assistant", "type": "text", "value": answer}]


def _turn(part: dict[str, Any], folder: Path) -> Any:
    from lhotse import Recording
    from nemo.collections.common.data.lhotse.text_adapters import AudioTurn, TextTurn

    role = part.get("from", "User").lower()
    if part["type"] == "text":
        return TextTurn(value=part["value"], role=role)
    cut = Recording.from_file(folder / part["value"]).resample(16000).to_cut()
    return AudioTurn(cut=cut, role=role, audio_locator_tag=AUDIO_TAG)


def _conversation(number: int, kind: str, turns: list[Any]) -> Any:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation

    for place, turn in enumerate(turns):
        if hasattr(turn, "cut"):
            # Stock SALM confuses clips of one id.
            turn.cut = turn.cut.with_id(f"{number}-{place}")
    return NeMoMultimodalConversation(
        id=f"{kind}-{number}", turns=turns, token_equivalent_duration=FRAME_SECONDS, custom={"kind": kind}
    )


def _attach(conversation: Any, ids: np.ndarray, mask: np.ndarray) -> None:
    """Both data sets read ids and mask from here: the same targets for every arm."""
    import torch

    conversation.input_ids, conversation.mask = torch.from_numpy(ids), torch.from_numpy(mask)
