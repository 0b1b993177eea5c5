"""Two light engines, and one call that speaks with any of the packaged English voices."""

import subprocess
from shutil import which
from tempfile import NamedTemporaryFile
from zlib import crc32

import numpy as np

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.voices.kokoro import ENGLISH_VOICES
from nemo_vtb.synthesis.voices.tts import open_engine

FLITE_VOICES = ("slt", "rms", "awb", "kal16")
# Those whose data installs from a package registry.
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
    samples, rate = open_engine(engine).speak(text, name, "en", speed)
    return soxr.resample(samples, rate * pitch, sample_rate).astype(np.float32)


class Hibari:
    """hibari-tts: one voice, over a hundred times faster than real time on one core."""

    has_speed = True

    def __init__(self) -> None:
        try:
            import hibari
        except ImportError as error:
            raise VTBError("the voice hibari needs hibari-tts: pip install 'nemo-vtb[synth]'") from error
        self._engine, self.version = hibari.Hibari(), f"hibari-tts {hibari.__version__}"
        self._rate = hibari.SAMPLE_RATE

    def voices(self, language: str) -> tuple[str, ...]:
        """See Engine."""
        return ("heart",) if language == "en" else ()

    def speak(self, text: str, voice: str, language: str, speed: float) -> tuple[np.ndarray, int]:
        """See Engine."""
        # Its breath is drawn anew each time unless told otherwise.
        samples = self._engine(text, speed=speed, seed=crc32(text.encode()))
        return np.asarray(samples, dtype=np.float32).reshape(-1), self._rate


class Flite:
    """Debian's flite: three unit-selection voices and one diphone voice, fifty times faster than real time."""

    has_speed = True

    def __init__(self) -> None:
        if which("flite") is None:
            raise VTBError(
                "the flite voices need the program flite: install it with `apt-get install flite`, "
                "or leave flite out of voices"
            )
        about = subprocess.run(["flite", "--version"], capture_output=True, text=True).stdout
        self.version = next((word for word in about.split() if word.startswith("flite-")), "flite")

    def voices(self, language: str) -> tuple[str, ...]:
        """See Engine."""
        return FLITE_VOICES if language == "en" else ()

    def speak(self, text: str, voice: str, language: str, speed: float) -> tuple[np.ndarray, int]:
        """See Engine."""
        import soundfile

        with NamedTemporaryFile(suffix=".wav") as wave:
            stretch = f"duration_stretch={1 / speed:.3f}"
            command = ["flite", "-voice", voice, "--setf", stretch, "-t", text, "-o", wave.name]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            return soundfile.read(wave.name, dtype="float32")
