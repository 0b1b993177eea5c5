"""Text-to-speech back ends behind one call: text, voice and speed in, samples out.

Voices are named ``engine:voice``; ``VOICES`` lists those whose data installs from a package registry.
"""

import subprocess
from collections.abc import Callable
from functools import lru_cache
from shutil import which
from tempfile import NamedTemporaryFile

import numpy as np

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.kokoro import ENGLISH_VOICES, KOKORO_SAMPLE_RATE, Kokoro

# Text, voice and speed to float32 mono samples and their rate in Hz.
Engine = Callable[[str, str, float], tuple[np.ndarray, int]]

FLITE_VOICES = ("slt", "rms", "awb", "kal16")
VOICES = (
    "hibari:heart",
    *(f"flite:{voice}" for voice in FLITE_VOICES),
    *(f"kokoro:{voice}" for voice in ENGLISH_VOICES),
)


def speak(text: str, voice: str, speed: float = 1.0, pitch: float = 1.0, sample_rate: int = 16_000) -> np.ndarray:
    """Speaks a sentence.

    Args:
        text: English text.
        voice: One of ``VOICES``.
        speed: Speaking rate, 1 as the voice has it.
        pitch: Factor on all frequencies, as a tape run faster; it makes another speaker of a voice and shortens the
            clip by the same factor.
        sample_rate: Of the result, in Hz.

    Returns:
        Float32 mono samples, shape ``(samples,)``.

    Raises:
        VTBError: If the voice is unknown or its engine is not installed.
    """
    if voice not in VOICES:
        raise VTBError(f"unknown voice '{voice}'; known: {', '.join(VOICES)}")
    import soxr

    engine, name = voice.split(":")
    samples, rate = _ENGINES[engine]()(text, name, speed)
    return soxr.resample(samples, rate * pitch, sample_rate).astype(np.float32)


@lru_cache
def _hibari() -> Engine:
    """hibari-tts: one voice, over a hundred times faster than real time on one core."""
    from hibari import Hibari

    engine = Hibari()
    return lambda text, voice, speed: (np.asarray(engine(text, speed=speed), dtype=np.float32).reshape(-1), 24_000)


@lru_cache
def _flite() -> Engine:
    """Debian's flite: three unit-selection voices and one diphone voice, fifty times faster than real time."""
    if which("flite") is None:
        raise VTBError("the flite voices need the program flite: install it with `apt-get install flite`")

    def run(text: str, voice: str, speed: float) -> tuple[np.ndarray, int]:
        import soundfile

        with NamedTemporaryFile(suffix=".wav") as wave:
            stretch = f"duration_stretch={1 / speed:.3f}"
            subprocess.run(["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", wave.name], check=True)
            return soundfile.read(wave.name, dtype="float32")

    return run


@lru_cache
def _kokoro() -> Engine:
    from nemo_vtb.assets import resolve

    engine = Kokoro(resolve("kokoro-82m"), threads=1)
    return lambda text, voice, speed: (engine(text, voice, speed), KOKORO_SAMPLE_RATE)


_ENGINES: dict[str, Callable[[], Engine]] = {"hibari": _hibari, "flite": _flite, "kokoro": _kokoro}
