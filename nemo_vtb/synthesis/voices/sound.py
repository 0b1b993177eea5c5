"""What a clip sounds like: sample rate, silence at its ends, loudness, and noise and rooms from recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from nemo_vtb.errors import VTBError

_FRAME_SECONDS = 0.01
# A quieter clip is an engine that said nothing.
_SILENT_DB = -60.0
# Nobody speaks faster; slower is a voice that got stuck.
_LETTERS_PER_SECOND = (2.5, 45.0)


@dataclass
class Sound:
    """How clips are finished; the keys of ``sound`` in ``conf/synth/speech.yaml``.

    Attributes:
        sample_rate: In Hz.
        loudness_db: RMS of a clip, relative to full scale.
        peak_db: No sample is louder; where it would be, the whole clip is quieter.
        silence_db: What is quieter than the loudest 10 ms by this counts as silence at the ends.
        margin: Seconds of silence that stay at each end.
    """

    sample_rate: int = 16_000
    loudness_db: float = -24.0
    peak_db: float = -1.0
    silence_db: float = -40.0
    margin: float = 0.15

    def finish(self, samples: np.ndarray, rate: float) -> np.ndarray:
        """Resamples, trims and levels a clip.

        Args:
            samples: Float mono ``(samples,)``.
            rate: Their rate in Hz; of another than the true one, the clip becomes faster and higher, or the reverse.

        Returns:
            Float32 ``(samples,)`` at ``sample_rate``.
        """
        import soxr

        samples = soxr.resample(np.asarray(samples, dtype=np.float32), rate, self.sample_rate).astype(np.float32)
        return self.level(self._trimmed(samples))

    def level(self, samples: np.ndarray) -> np.ndarray:
        """Sets the loudness of a clip."""
        gain = _linear(self.loudness_db) / max(_rms(samples), 1e-9)
        return samples * min(gain, _linear(self.peak_db) / max(float(np.abs(samples).max()), 1e-9))

    def _trimmed(self, samples: np.ndarray) -> np.ndarray:
        frame = int(_FRAME_SECONDS * self.sample_rate)
        padded = np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)
        power = np.square(padded).mean(axis=1)
        loud = np.flatnonzero(power > power.max() * _linear(self.silence_db) ** 2)
        margin = round(self.margin * self.sample_rate)
        start, end = int(loud[0]) * frame - margin, int(loud[-1] + 1) * frame + margin
        # A voice that begins or ends at once gets its margin all the same.
        before, after = max(0, -start), max(0, end - len(samples))
        return np.pad(samples[max(0, start) : end], (before, after))


def fault(samples: np.ndarray, rate: int, text: str, max_seconds: float) -> str | None:
    """Returns why a clip is no reading of a text, or None: ``empty``, ``not finite``, ``silent``, ``length``."""
    if not samples.size:
        return "empty"
    if not np.isfinite(samples).all():
        return "not finite"
    if _rms(samples) < _linear(_SILENT_DB):
        return "silent"
    seconds, letters = len(samples) / rate, sum(char.isalnum() for char in text)
    slowest, fastest = _LETTERS_PER_SECOND
    if not letters / fastest <= seconds <= min(max_seconds, 2.0 + letters / slowest):
        return "length"
    return None


class Surroundings:
    """Noise and rooms around a voice, from recordings.

    Args:
        noise: ``files``, ``snr_db`` (lowest and highest) and ``share`` of the clips; None for silence.
        room: ``files`` of impulse responses and ``share`` of the clips; None for none.
        sound: How clips are finished.

    Raises:
        VTBError: If a file is missing.
    """

    def __init__(self, noise: Mapping[str, Any] | None, room: Mapping[str, Any] | None, sound: Sound) -> None:
        self._noise, self._room, self._sound = noise, room, sound
        for name, section in (("noise", noise), ("room", room)):
            for file in section["files"] if section else ():
                if not Path(file).is_file():
                    raise VTBError(f"{name}.files: no such file: {file}")

    @property
    def any(self) -> bool:
        """Whether anything is ever put around a voice."""
        return bool(self._noise or self._room)

    def around(self, samples: np.ndarray, random: Random) -> tuple[np.ndarray, dict[str, Any]]:
        """Puts a clip into a room and noise, each with its odds.

        Args:
            samples: Finished, float32 ``(samples,)``.
            random: All of the chance.

        Returns:
            The clip, as long as before, and what was done: ``room``, ``noise``, ``snr_db``.
        """
        done: dict[str, Any] = {}
        if self._room and random.random() < self._room["share"]:
            file = random.choice(list(self._room["files"]))
            samples = _in_room(samples, _recording(file, self._sound.sample_rate))
            done["room"] = Path(file).name
        if self._noise and random.random() < self._noise["share"]:
            file = random.choice(list(self._noise["files"]))
            snr_db = round(random.uniform(*self._noise["snr_db"]), 1)
            samples = _in_noise(samples, _recording(file, self._sound.sample_rate), snr_db, random)
            done |= {"noise": Path(file).name, "snr_db": snr_db}
        return (self._sound.level(samples) if done else samples), done


def joined(clips: Sequence[np.ndarray]) -> np.ndarray:
    """One clip after another; the margins make the pause."""
    return clips[0] if len(clips) == 1 else np.concatenate(clips)


def _in_room(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    from scipy.signal import fftconvolve

    # From the direct sound on, so that words stay where they were.
    response = response[int(np.abs(response).argmax()) :]
    return fftconvolve(samples, response)[: len(samples)].astype(np.float32)


def _in_noise(samples: np.ndarray, noise: np.ndarray, snr_db: float, random: Random) -> np.ndarray:
    start = random.randrange(len(noise))
    around: np.ndarray = np.resize(np.roll(noise, -start), len(samples))
    return samples + around * (_rms(samples) / max(_rms(around), 1e-9) * _linear(-snr_db))


@lru_cache(maxsize=64)
def _recording(file: str, rate: int) -> np.ndarray:
    import soundfile
    import soxr

    samples, own = soundfile.read(file, dtype="float32", always_2d=True)
    if not len(samples) or not np.abs(samples).max() > 0:
        raise VTBError(f"{file} holds no sound")
    return soxr.resample(samples.mean(axis=1), own, rate).astype(np.float32)


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _linear(decibels: float) -> float:
    return float(10 ** (decibels / 20))
