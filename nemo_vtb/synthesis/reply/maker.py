"""Writes a shard of replies: the LLM reads what each recording says and answers as it would answer anybody."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from nemo_vtb import __version__
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.inference.llms.interface import LLM, Sampling
from nemo_vtb.synthesis.asking import ask
from nemo_vtb.synthesis.jobs.shard import Item, Shard
from nemo_vtb.synthesis.qa.filters import words
from nemo_vtb.synthesis.qa.recordings import Recorded, clip_in, recorded_in, row_files
from nemo_vtb.synthesis.reply.options import OwnReplyOptions


@dataclass(frozen=True)
class _Said:
    id: str
    recorded: Recorded
    instruction: str
    audio_first: bool
    seed: int


class ReplyMaker:
    """A maker of shards; see ``Job``.

    Self-generated targets: DeSTA2.5 (arXiv 2507.02768), BLSP (arXiv 2405.19041), AZeroS (arXiv 2601.06086).

    Args:
        llm: Answers.
        options: What is answered and kept.
        seed: Of the job. All of a recording's chance follows from it and from the item's id.
        out: The job's folder.
    """

    def __init__(self, llm: LLM, options: OwnReplyOptions, seed: int, out: str) -> None:
        self._llm, self._options, self._seed, self._out = llm, options, seed, Path(out)
        self._files = row_files(options.source, options.recording.seconds)

    def __call__(self, items: Sequence[Item], shard: Shard) -> None:
        """Answers the recordings of a shard."""
        said = [one for one in (self._begin(item, shard) for item in items) if one is not None]
        reply = self._options.reply
        sampling = [Sampling(reply.tokens, reply.temperature, reply.top_p, one.seed) for one in said]
        replies = ask(self._llm.chat, [self._conversation(one) for one in said], sampling, shard)
        fewest, most = self._options.reply_words
        for one, answer in zip(said, replies, strict=True):
            if not answer.finished:
                shard.drop(one.id, "reply.truncated", answer.text)
            elif not fewest <= len(words(answer.text)) <= most:
                shard.drop(one.id, "reply.length", answer.text)
            else:
                self._add(one, answer.text.strip(), shard)

    def _begin(self, item: Item, shard: Shard) -> _Said | None:
        recorded = recorded_in(item, shard)
        if recorded is None:
            return None
        fewest, most = self._options.recording.words
        if not fewest <= len(words(recorded.text)) <= most or len(recorded.text) > self._options.recording.characters:
            shard.drop(item.id, "transcript.length", recorded.text)
            return None
        rng = Random(f"{self._seed}/{item.id}")
        instruction = rng.choice(self._options.instructions) if self._options.instructions else ""
        return _Said(item.id, recorded, instruction, rng.random() < 0.5, rng.getrandbits(31))

    def _parts(self, one: _Said, heard: Any) -> list[Any]:
        """The user's turn: what is heard, and the instruction before or behind it."""
        parts = [heard, one.instruction] if one.audio_first else [one.instruction, heard]
        return [part for part in parts if part != ""]

    def _conversation(self, one: _Said) -> list[dict[str, str]]:
        # Turns of one role are joined by a space when training reads them.
        user = {"role": "user", "content": " ".join(self._parts(one, one.recorded.text))}
        return [*([{"role": "system", "content": self._options.system}] if self._options.system else []), user]

    def _add(self, one: _Said, answer: str, shard: Shard) -> None:
        try:
            path, seconds = clip_in(one.recorded, self._files, shard, self._out, one.id, self._options.copy_audio)
        except BadRow as error:
            shard.drop(one.id, error.reason, str(error), bad=True)
            return
        clip = {"from": "User", "type": "audio", "value": path, "duration": seconds, "text": one.recorded.text}
        turns = [
            part if isinstance(part, dict) else {"from": "User", "type": "text", "value": part}
            for part in self._parts(one, clip)
        ]
        if self._options.system:
            turns.insert(0, {"from": "System", "type": "text", "value": self._options.system})
        turns.append({"from": "Assistant", "type": "text", "value": answer})
        row: dict[str, Any] = {"id": f"{one.id}/reply", "conversations": turns, "custom": self._about(one)}
        if one.recorded.split:
            row["split"] = one.recorded.split
        shard.observe("reply_words", len(words(answer)))
        shard.add(row)

    def _about(self, one: _Said) -> dict[str, Any]:
        return {
            "kind": "continue",
            "lang": one.recorded.language or self._options.language,
            "model": self._llm.name,
            **({"voice": one.recorded.speaker} if one.recorded.speaker else {}),
            "seed": self._seed,
            "source": one.id,
            "source_sha256": one.recorded.sha256,
            "version": f"nemo_vtb {__version__}",
        }
