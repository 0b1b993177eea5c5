"""Where runs of sentences become clips: spoken, listened to, and spoken again by another voice where that fails."""

import errno
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from nemo_vtb.data.conversations.prompt_pool import stable_hash
from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.jobs.shard import Shard
from nemo_vtb.synthesis.voices.recorded import Reading
from nemo_vtb.synthesis.voices.round_trip import Gate
from nemo_vtb.synthesis.voices.sound import Sound, fault
from nemo_vtb.synthesis.voices.tts import Cast, Delivery

_GATE_RATE = 16_000


@dataclass
class Run:
    """A run of sentences that is to be spoken as one clip.

    Attributes:
        key: Unique over the job; all chance depends on it.
        text: As it is written, from the first sentence to the last.
        sentences: Each as it is written.
        said: Each as it is spoken; None where only a recording can say it.
        language: ISO 639-1.
        reading: A recording that is used instead.
        delivery: Who speaks, once it is spoken.
        clips: Finished samples per sentence, ``(samples,)``.
        cer: Character error rate per sentence; empty without a gate.
        fault: Why it failed, and a detail; None once it passed.
    """

    key: str
    text: str
    sentences: list[str]
    said: list[str | None]
    language: str
    reading: Reading | None = None
    delivery: Delivery | None = None
    clips: list[np.ndarray] = field(default_factory=list)
    cer: list[float] = field(default_factory=list)
    fault: tuple[str, str] | None = None


class Studio:
    """Speaks runs.

    Args:
        cast: Who speaks.
        gate: Lets clips pass that are understood; None lets all pass.
        sound: How clips are finished.
        tries: How often a run is spoken at most.
        max_seconds: Longest clip.
        seed: Of the job.
    """

    def __init__(self, cast: Cast, gate: Gate | None, sound: Sound, tries: int, max_seconds: float, seed: int) -> None:
        self._cast, self._gate, self._sound = cast, gate, sound
        self._tries, self._max_seconds, self._seed = tries, max_seconds, seed

    def record(self, runs: Sequence[Run], shard: Shard) -> None:
        """Fills in ``delivery``, ``clips`` and ``cer`` of every run, or ``fault`` where all tries failed."""
        tried: dict[str, set[str]] = {run.key: set() for run in runs}
        left = list(runs)
        for attempt in range(self._tries):
            spoken = []
            for run in left:
                random = Random(stable_hash("voice", self._seed, run.key, attempt))
                delivery = self._cast.draw(run.language, random, tried[run.key])
                if delivery is None:
                    continue  # Every voice has tried; what the last one lacked stands.
                if attempt:
                    shard.count(f"respoken.{run.fault[0] if run.fault else ''}")
                tried[run.key].add(delivery.voice)
                run.delivery = delivery
                run.fault = self._speak(run, delivery, shard)
                spoken.append(run)
            if self._gate is not None:
                self._listen([run for run in spoken if run.fault is None], attempt == 0, shard)
            left = [run for run in spoken if run.fault is not None]
        for run in runs:
            for rate in run.cer if run.fault is None else ():
                shard.observe("cer.kept", rate)

    def _speak(self, run: Run, delivery: Delivery, shard: Shard) -> tuple[str, str] | None:
        run.clips, run.cer = [], []
        for text in run.said:
            assert text is not None
            try:
                samples, rate, took = self._cast.speak(text, run.language, delivery)
            except VTBError:
                raise  # Something is not installed: no other sentence would fare better.
            except Exception as error:
                if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                    raise
                return "engine failed", f"{delivery.voice}: {type(error).__name__}: {error}"
            if problem := fault(samples, round(rate), text, self._max_seconds):
                return problem, f"{delivery.voice}: {len(samples) / rate:.1f} s for: {text}"
            run.clips.append(self._sound.finish(samples, rate))
            engine = delivery.engine
            shard.count(f"tts.sentences.{engine}")
            shard.count(f"tts.seconds.{engine}", took)
            shard.count(f"tts.audio_seconds.{engine}", len(samples) / rate)
        seconds = sum(map(len, run.clips)) / self._sound.sample_rate
        return ("length", f"{delivery.voice}: {seconds:.1f} s") if seconds > self._max_seconds else None

    def _listen(self, runs: Sequence[Run], first: bool, shard: Shard) -> None:
        gate = self._gate
        assert gate is not None
        for language in sorted({run.language for run in runs}):
            heard = [run for run in runs if run.language == language]
            clips = [self._as_heard(clip) for run in heard for clip in run.clips]
            started = time.perf_counter()
            rates = iter(gate.rates(clips, [text or "" for run in heard for text in run.said], language))
            shard.count("asr.seconds", time.perf_counter() - started)
            shard.count("asr.audio_seconds", sum(map(len, clips)) / _GATE_RATE)
            shard.count("asr.sentences", len(clips))
            for run in heard:
                run.cer = [next(rates) for _ in run.clips]
                for rate in run.cer if first else ():
                    shard.observe("cer.first", rate)
                worst = int(np.argmax(run.cer))
                if run.cer[worst] > gate.limit:
                    voice = run.delivery.voice if run.delivery else ""
                    run.fault = "cer", f"{voice}: {run.cer[worst]:.2f} for: {run.said[worst]}"

    def _as_heard(self, clip: np.ndarray) -> np.ndarray:
        if self._sound.sample_rate == _GATE_RATE:
            return clip
        import soxr

        return soxr.resample(clip, self._sound.sample_rate, _GATE_RATE).astype(np.float32)
