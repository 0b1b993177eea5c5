"""The rows of spoken chats and of the bank, with where everything in them comes from."""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from nemo_vtb import __version__
from nemo_vtb.data.conversations.prompt_pool import stable_hash
from nemo_vtb.synthesis.jobs.shard import Shard, clip_name, place_in
from nemo_vtb.synthesis.spoken_turns.text_chats import Chat
from nemo_vtb.synthesis.voices.recorded import Recordings
from nemo_vtb.synthesis.voices.sound import Sound, Surroundings, joined
from nemo_vtb.synthesis.voices.studio import Run
from nemo_vtb.synthesis.voices.tts import Cast

BANK = "bank"


@dataclass(frozen=True)
class Variant:
    """One version of a conversation.

    Attributes:
        chat: The conversation.
        number: Which version.
        turns: For each turn its pieces: a text, and the run that speaks it or None.
    """

    chat: Chat
    number: int
    turns: list[list[tuple[str, Run | None]]]

    @property
    def id(self) -> str:
        """Of its row."""
        return f"{self.chat.id}/spoken{self.number}"

    @property
    def runs(self) -> list[Run]:
        """What is spoken, in order."""
        return [run for turn in self.turns for _, run in turn if run is not None]


class RowWriter:
    """Writes the row of a variant and those of its sentences.

    Args:
        cast: Who spoke.
        banks: Where recordings come from, if any do.
        sound: How clips are finished.
        surroundings: Noise and rooms; the bank stays without.
        seed: Of the job.
        out: The job's folder.
    """

    def __init__(
        self, cast: Cast, banks: Recordings | None, sound: Sound, surroundings: Surroundings, seed: int, out: Path
    ) -> None:
        self._cast, self._banks, self._sound = cast, banks, sound
        self._surroundings, self._seed, self._out = surroundings, seed, out

    def write(self, variant: Variant, shard: Shard) -> None:
        """Adds a variant whose runs are all spoken."""
        turns: list[dict[str, Any]] = []
        about: list[dict[str, Any]] = []
        for (role, _), found in zip(variant.chat.turns, variant.turns, strict=True):
            for text, run in found:
                turn: dict[str, Any] = {"from": role.capitalize(), "type": "text", "value": text}
                if run is not None:
                    path, seconds, made = self._clip(variant, run, shard)
                    said = run.reading.text if run.reading is not None else text
                    turn |= {"type": "audio", "value": path, "duration": seconds, "text": said}
                    shard.observe("clip.seconds", seconds)
                    about.append(made)
                turns.append(turn)
        custom = {
            "kind": "mixed",
            "category": variant.chat.category,
            "lang": variant.chat.language,
            **_one_or_all(about),
            **self._origin(variant.chat),
        }
        split = {"split": variant.chat.split} if variant.chat.split else {}
        shard.add({"id": variant.id, **split, "conversations": turns, "custom": custom})

    def _clip(self, variant: Variant, run: Run, shard: Shard) -> tuple[str, float, dict[str, Any]]:
        """The clip of a run: its path and length, and how it was made."""
        random = Random(stable_hash("around", self._seed, run.key))
        name = clip_name(run.key)
        made: dict[str, Any]
        if run.delivery is not None:
            delivery = run.delivery
            made = {
                "voice": delivery.voice,
                "engine": self._cast.engine(delivery.engine).version,
                "speed": delivery.speed,
                "pitch": delivery.pitch,
                "spoken": " ".join(text or "" for text in run.said),
            }
            if run.cer:
                made["cer"] = max(run.cer)
            files = [self._bank(variant, run, place, f"{name}-{place}", shard) for place in range(len(run.clips))]
            samples, alone = joined(run.clips), files[0] if len(files) == 1 else None
        else:
            assert run.reading is not None and self._banks is not None
            reading = run.reading
            made = {"voice": reading.voice, "engine": "recording"}
            shard.count("reused.sentences", len(reading.recordings))
            alone = (place_in(self._out, reading.path), reading.seconds) if reading.path is not None else None
            if alone is not None and not self._surroundings.any:
                return *alone, made
            rate = self._sound.sample_rate
            spoken = self._banks.samples(reading.recordings, rate)
            samples = joined([self._sound.finish(clip, rate) for clip in spoken])
        samples, done = self._surroundings.around(samples, random)
        made |= done
        if alone is not None and not done:
            return *alone, made
        return *shard.clip(name, samples, self._sound.sample_rate), made

    def _bank(self, variant: Variant, run: Run, place: int, name: str, shard: Shard) -> tuple[str, float]:
        """Adds a sentence to the bank."""
        assert run.delivery is not None
        path, seconds = shard.clip(name, run.clips[place], self._sound.sample_rate)
        row = {
            "text": run.sentences[place],
            "audio_filepath": path,
            "duration": seconds,
            "lang": run.language,
            "voice": run.delivery.voice,
            "engine": self._cast.engine(run.delivery.engine).version,
            "speed": run.delivery.speed,
            "pitch": run.delivery.pitch,
            "spoken": run.said[place],
            **({"cer": run.cer[place]} if run.cer else {}),
            **self._origin(variant.chat),
        }
        shard.add(row, BANK)
        return path, seconds

    def _origin(self, chat: Chat) -> dict[str, Any]:
        return {
            "seed": self._seed,
            "source": chat.id,
            "source_sha256": chat.sha256,
            "version": f"nemo_vtb {__version__}",
        }


def _one_or_all(made: list[dict[str, Any]]) -> dict[str, Any]:
    """How the clips of a row were made: plain values of one clip, lists of several."""
    if len(made) == 1:
        return made[0]
    return {key: [one.get(key) for one in made] for key in dict.fromkeys(key for one in made for key in one)}
