"""Writes a shard of questions about recordings: the LLM is asked about all of its recordings at once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from nemo_vtb import __version__
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.inference.llms.interface import LLM, Reply, Sampling
from nemo_vtb.synthesis.asking import ask
from nemo_vtb.synthesis.jobs.shard import Item, Shard
from nemo_vtb.synthesis.qa.filters import pair_fault, words
from nemo_vtb.synthesis.qa.options import QAOptions
from nemo_vtb.synthesis.qa.prompts import Asked, Pair, language_names, load_prompt
from nemo_vtb.synthesis.qa.recordings import clip_in, recorded_in, row_files
from nemo_vtb.synthesis.qa.second_pass import SecondPass

# Mostly one hears first and is asked then.
_AUDIO_FIRST = 0.7


class QAMaker:
    """A maker of shards; see ``Job``.

    Args:
        llm: Writes questions and answers.
        options: What is asked and kept.
        seed: Of the job. All of a recording's chance follows from it and from the item's id.
        out: The job's folder.

    Raises:
        VTBError: If a file of prompts or of the source cannot be used.
    """

    def __init__(self, llm: LLM, options: QAOptions, seed: int, out: str) -> None:
        self._llm, self._options, self._seed = llm, options, seed
        self._prompts = [(load_prompt(name), weight) for name, weight in options.drawn_files().items()]
        self._names = language_names()
        self._second = SecondPass(llm, options) if options.filters.second_pass else None
        self._files = row_files(options.source, options.recording.seconds)
        self._out = Path(out)

    def __call__(self, items: Sequence[Item], shard: Shard) -> None:
        """Asks about the recordings of a shard."""
        asked = [one for one in (self._begin(item, shard) for item in items) if one is not None]
        # Servers keep what they have read of a prompt: one file of prompts after the other is read once.
        asked.sort(key=lambda one: one.prompt.version)
        replies = self._write(asked, shard)
        found = [(one, self._fit(one, reply, shard)) for one, reply in zip(asked, replies, strict=True)]
        if self._second is not None:
            found = self._second.confirm(found, shard)
        for one, pairs in found:
            groups = [pairs] if one.prompt.dialogue and pairs else [[pair] for pair in pairs]
            if groups:
                self._add(one, groups, shard)

    def _begin(self, item: Item, shard: Shard) -> Asked | None:
        recorded = recorded_in(item, shard)
        if recorded is None:
            return None
        language = recorded.language or self._options.language
        rng = Random(f"{self._seed}/{item.id}")
        prompts = [(p, weight) for p, weight in self._prompts if not p.refusals or language in p.refusals]
        fewest, most = self._options.recording.words
        fault = None
        if language not in self._names:
            fault = "language", language
        elif not fewest <= len(words(recorded.text)) <= most:
            fault = "transcript.length", recorded.text
        elif not prompts:
            fault = "refusals.language", language
        if fault is not None:
            shard.drop(item.id, *fault)
            return None
        prompt = rng.choices([p for p, _ in prompts], [weight for _, weight in prompts])[0]
        return Asked(item.id, recorded, prompt, language, rng)

    def _write(self, asked: Sequence[Asked], shard: Shard) -> list[Reply]:
        reply, most = self._options.reply, self._options.recording.characters
        return ask(
            self._llm.chat,
            [one.prompt.conversation(one.recorded.text, self._names[one.language], most) for one in asked],
            [
                Sampling(
                    reply.tokens * one.prompt.pairs,
                    reply.temperature,
                    reply.top_p,
                    one.rng.getrandbits(31),
                    schema=one.prompt.schema,
                )
                for one in asked
            ],
            shard,
        )

    def _fit(self, one: Asked, reply: Reply, shard: Shard) -> list[Pair]:
        """The fit pairs of a reply. A conversation ends before its first unfit one, which others would build on."""
        if not reply.finished:
            shard.drop(one.id, "reply.truncated", reply.text)
            return []
        try:
            pairs = one.prompt.parse(reply.text)
        except ValueError as error:
            shard.drop(one.id, "reply.unparsable", f"{error}: {reply.text}")
            return []
        fit: list[Pair] = []
        for number, pair in enumerate(pairs):
            fault = pair_fault(pair, one.recorded.text, one.language, one.prompt, self._options.filters)
            if fault is None and words(pair.question) in [words(earlier.question) for earlier in fit]:
                fault = "question.repeats_itself"
            if fault is None:
                fit.append(pair)
                continue
            name = one.id if one.prompt.pairs == 1 else f"{one.id}/{number + 1}"
            shard.drop(name, fault, f"{pair.question} {pair.answer} << {one.recorded.text}")
            if one.prompt.dialogue:
                break
        if one.prompt.refusals:
            return [replace(pair, answer=one.rng.choice(one.prompt.refusals[one.language])) for pair in fit]
        return fit

    def _add(self, one: Asked, groups: Sequence[Sequence[Pair]], shard: Shard) -> None:
        try:
            path, seconds = clip_in(one.recorded, self._files, shard, self._out, one.id, self._options.copy_audio)
        except BadRow as error:
            shard.drop(one.id, error.reason, str(error), bad=True)
            return
        clip = {"from": "User", "type": "audio", "value": path, "duration": seconds, "text": one.recorded.text}
        for number, pairs in enumerate(groups):
            turns: list[dict[str, Any]] = []
            for pair in pairs:
                turns.append({"from": "User", "type": "text", "value": pair.question})
                turns.append({"from": "Assistant", "type": "text", "value": pair.answer})
                shard.observe("question_words", len(words(pair.question)))
                shard.observe("answer_words", len(words(pair.answer)))
            turns.insert(0 if one.rng.random() < _AUDIO_FIRST else 1, clip)
            name = f"{one.id}/qa" if len(groups) == 1 else f"{one.id}/qa{number + 1}"
            row: dict[str, Any] = {"id": name, "conversations": turns, "custom": self._about(one)}
            if one.recorded.split:
                row["split"] = one.recorded.split
            shard.add(row)
            shard.count("pairs", len(pairs))

    def _about(self, one: Asked) -> dict[str, Any]:
        return {
            "kind": "sqa",
            "lang": one.language,
            "category": one.prompt.name,
            "model": self._llm.name,
            "prompt_version": one.prompt.version,
            **({"voice": one.recorded.speaker} if one.recorded.speaker else {}),
            **({"unanswerable": True} if one.prompt.refusals else {}),
            "seed": self._seed,
            "source": one.id,
            "source_sha256": one.recorded.sha256,
            "version": f"nemo_vtb {__version__}",
        }
