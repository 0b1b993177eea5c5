"""``vtb synth speech``: chats whose user turns are partly spoken, and a bank of the spoken sentences.

The fourth kind of data of the paper: its filters, its rule of what is spoken, one voice per clip. Sentences are spoken
one by one, so that the bank can speak other chats on the fly; those of a run make one clip.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from nemo_vtb.data.conversations.prompt_pool import stable_hash
from nemo_vtb.parts.spoken_spans import pieces, sentences
from nemo_vtb.synthesis.jobs.job import Job
from nemo_vtb.synthesis.jobs.shard import Item, Shard
from nemo_vtb.synthesis.spoken_turns.options import SpeechOptions
from nemo_vtb.synthesis.spoken_turns.rows import RowWriter, Variant
from nemo_vtb.synthesis.spoken_turns.text_chats import Chat, ChatFilter, chat_items
from nemo_vtb.synthesis.voices.recorded import Reading, Recordings
from nemo_vtb.synthesis.voices.round_trip import Gate
from nemo_vtb.synthesis.voices.sound import Surroundings
from nemo_vtb.synthesis.voices.speakable import for_the_eye, spoken_form
from nemo_vtb.synthesis.voices.studio import Run, Studio
from nemo_vtb.synthesis.voices.tts import Cast

if TYPE_CHECKING:
    from omegaconf import DictConfig

# Slower than anyone speaks: what is shorter than this will not be too long a clip.
_LETTERS_PER_SECOND = 11


def job_of(cfg: "DictConfig") -> Job:
    """The job of a config such as ``conf/synth/speech.yaml``.

    Raises:
        VTBError: Names the key that is unknown, missing or wrong, or the file that is not there.
    """
    options = SpeechOptions.read(cfg)
    return Job(
        name="speech",
        items=list(chat_items(options.source)),
        open_maker=partial(SpokenTurns, options, cfg.seed, str(cfg.out)),
        settings=asdict(options),
        seed=cfg.seed,
        shard_size=cfg.shard_size,
        max_bad_share=cfg.max_bad_share,
    )


def unique(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Keeps conversations that are new; the variants of one conversation stay together.

    Returns:
        The rows to keep, and the others as drops.
    """
    owner: dict[str, str] = {}
    kept, twice = [], []
    for row in rows:
        custom = row["custom"]
        if owner.setdefault(custom["source_sha256"], custom["source"]) == custom["source"]:
            kept.append(row)
        else:
            detail = f"as {owner[custom['source_sha256']]}"
            twice.append({"id": row["id"], "reason": "duplicate", "detail": detail})
    return kept, twice


@dataclass(frozen=True)
class _Turn:
    """A user turn taken apart.

    Attributes:
        text: As it is written.
        places: Characters of each sentence.
        said: Each as it is spoken, or None.
    """

    text: str
    places: list[tuple[int, int]]
    said: list[str | None]

    def written(self, start: int, end: int) -> list[str]:
        """Some of its sentences as they are written."""
        return [self.text[first:last] for first, last in self.places[start:end]]


class SpokenTurns:
    """Makes shards; see ``job.Maker``.

    Args:
        options: What is made.
        seed: Of the job.
        out: The job's folder.

    Raises:
        VTBError: If something that the options name is not there or not installed.
    """

    def __init__(self, options: SpeechOptions, seed: int, out: str) -> None:
        self._options, self._seed = options, seed
        speed, pitch = (options.speed[0], options.speed[1]), (options.pitch[0], options.pitch[1])
        cast = Cast(options.shares(), options.engines, speed, pitch)
        gate = None
        if options.gate is not None:
            gate = Gate(options.gate.asr, options.gate.limit, options.gate.batch)
        self._studio = Studio(cast, gate, options.sound, options.tries, options.speak.max_seconds, seed)
        self._banks = Recordings(options.banks, options.speak.max_seconds) if options.banks else None
        languages = frozenset(options.shares()) if options.tts else frozenset({*options.voices, options.language})
        self._filter = ChatFilter(options.filters, languages)
        surroundings = Surroundings(options.noise, options.room, options.sound)
        self._rows = RowWriter(cast, self._banks, options.sound, surroundings, seed, Path(out))

    def __call__(self, items: Sequence[Item], shard: Shard) -> None:
        """Speaks the conversations of a shard."""
        variants = [variant for item in items for variant in self._variants(item, shard)]
        new = [run for variant in variants for run in variant.runs if run.reading is None]
        self._studio.record(new, shard)
        for variant in variants:
            failed = next((run for run in variant.runs if run.fault is not None), None)
            if failed is not None and failed.fault is not None:
                shard.drop(variant.id, *failed.fault)
            else:
                self._rows.write(variant, shard)

    def _variants(self, item: Item, shard: Shard) -> list[Variant]:
        if "bad" in item.row:
            shard.drop(item.id, item.row["bad"], f"{item.where}: {item.row['detail']}", bad=True)
            return []
        if "audio" in item.row:
            shard.drop(item.id, "has audio", item.where)
            return []
        chat = Chat.of(item, self._options.language)
        if problem := self._filter.fault(chat):
            shard.drop(chat.id, *problem)
            return []
        turns = {number: self._turn(text, chat) for number, (role, text) in enumerate(chat.turns) if role == "user"}
        rule, made = self._options.speak.rule(), []
        for number in range(rule.variants_of(sum(len(turn.places) for turn in turns.values()))):
            if variant := self._draw(chat, turns, number):
                made.append(variant)
        if not made:
            reason = "nothing to speak" if self._options.tts else "not in a bank"
            shard.drop(chat.id, reason, next(turn.text for turn in turns.values()))
        return made

    def _turn(self, text: str, chat: Chat) -> _Turn:
        places, seen = sentences(text, chat.language), for_the_eye(text)
        said = [
            None
            if any(start < last and first < end for first, last in seen)
            else spoken_form(text[start:end], chat.language)
            for start, end in places
        ]
        return _Turn(text, places, said)

    def _draw(self, chat: Chat, turns: dict[int, _Turn], number: int) -> Variant | None:
        rule = self._options.speak.rule()
        random = Random(stable_hash("speak", self._seed, chat.id, number))
        order, wanted = rule.draw_turns(list(turns), random)
        spoken: dict[int, list[tuple[str, Run | None]]] = {}
        for place in order:
            if len(spoken) < wanted and (found := self._spoken(chat, turns[place], f"{number}/{place}", random)):
                spoken[place] = found
        if not spoken:
            return None
        return Variant(chat, number, [spoken.get(place, [(text, None)]) for place, (_, text) in enumerate(chat.turns)])

    def _spoken(self, chat: Chat, turn: _Turn, key: str, random: Random) -> list[tuple[str, Run | None]]:
        """The pieces of a turn with what is spoken of it; none where nothing can be."""
        spans, runs = [], []
        for start, end in self._options.speak.rule().draw_runs(len(turn.places), partial(self._ends, turn), random):
            texts, said = turn.written(start, end), turn.said[start:end]
            text = turn.text[turn.places[start][0] : turn.places[end - 1][1]]
            run = Run(f"{chat.id}/{key}/{start}", text, texts, said, chat.language)
            run.reading = self._reading(texts, random)
            spans.append((start, end))
            runs.append(run)
        if not runs:
            return []
        return [
            (piece, None if number is None else runs[number]) for piece, number in pieces(turn.text, turn.places, spans)
        ]

    def _ends(self, turn: _Turn, start: int) -> list[int]:
        """Where a run may end: as long as one voice of the banks has it all, or all of it can be spoken."""
        ends = []
        for end in range(start + 1, len(turn.places) + 1):
            in_bank = self._banks is not None and self._banks.voices(turn.written(start, end))
            if not in_bank and not self._can_speak(turn.said[start:end]):
                break
            ends.append(end)
        return ends

    def _can_speak(self, said: Sequence[str | None]) -> bool:
        letters = sum(len(text) for text in said if text is not None)
        return (
            self._options.tts and None not in said and letters <= self._options.speak.max_seconds * _LETTERS_PER_SECOND
        )

    def _reading(self, texts: Sequence[str], random: Random) -> Reading | None:
        """A recording of some sentences, drawn from the voices that have them all; None where there is none."""
        voices = self._banks.voices(texts) if self._banks is not None else {}
        if self._banks is None or not voices:
            return None
        choices = voices[random.choice(sorted(voices))]
        return self._banks.open([random.choice(recordings) for recordings in choices])
