"""Kokoro-82M as a text-to-speech back end: 28 English voices, and a few others, on a CPU through ONNX Runtime.

The model takes phoneme ids, a style vector chosen by the number of phonemes, and a speed; it returns 24 kHz audio.
English phonemes come from hibari-tts, those of other languages from the program espeak-ng.
"""

import json
import re
import subprocess
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np

from nemo_vtb.errors import VTBError

KOKORO_SAMPLE_RATE = 24_000
_MAX_PHONEMES = 508

ENGLISH_VOICES = (
    *(
        f"af_{name}"
        for name in ["alloy", "aoede", "bella", "heart", "jessica", "kore", "nicole", "nova", "river", "sarah", "sky"]
    ),
    *(f"am_{name}" for name in ["adam", "echo", "eric", "fenrir", "liam", "michael", "onyx", "puck", "santa"]),
    *(f"bf_{name}" for name in ["alice", "emma", "isabella", "lily"]),
    *(f"bm_{name}" for name in ["daniel", "fable", "george", "lewis"]),
)

VOICES = {
    "en": ENGLISH_VOICES,
    "es": ("ef_dora", "em_alex", "em_santa"),
    "fr": ("ff_siwis",),
    "it": ("if_sara", "im_nicola"),
    "pt": ("pf_dora", "pm_alex", "pm_santa"),
    # The model knows no German; these two voices are understood best, with an accent.
    "de": ("ef_dora", "im_nicola"),
}
_ESPEAK = {"es": "es", "fr": "fr-fr", "it": "it", "pt": "pt-br", "de": "de"}
_PAUSE = re.compile(r"([.,;:!?¡¿…—()]+)")
# The model has one symbol for each of these pairs.
_JOINED = {"aɪ": "I", "aʊ": "W", "dz": "ʣ", "dʒ": "ʤ", "eɪ": "A", "oʊ": "O", "əʊ": "Q", "ss": "S", "ts": "ʦ", "tʃ": "ʧ",
           "ɔɪ": "Y"}  # fmt: skip


class Kokoro:
    """Speaks text with a named voice.

    Args:
        folder: A folder with ``kokoro-int8.onnx``, ``vocab.json`` and ``voices/*.bin``, as
            ``nemo_vtb.assets`` lays it out.
        threads: Threads ONNX Runtime may use for one sentence.
    """

    def __init__(self, folder: str | Path, threads: int = 2) -> None:
        import onnxruntime

        self._folder = Path(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(self._folder / "kokoro-int8.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._vocab = json.loads((self._folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        self._styles: dict[str, np.ndarray] = {}
        self._g2p: dict[bool, Any] = {}

    def __call__(self, text: str, voice: str, speed: float = 1.0, language: str = "en") -> np.ndarray:
        """Speaks ``text``.

        Args:
            text: At most about 500 phonemes; what is longer is cut off.
            voice: Name of a file of ``voices``.
            speed: Speaking rate.
            language: A key of ``VOICES``.

        Returns:
            Float32 mono samples at 24 kHz, shape ``(samples,)``.
        """
        phonemes = self._english(text, voice.startswith("b")) if language == "en" else _espeak(text, language)
        ids = [self._vocab[symbol] for symbol in phonemes if symbol in self._vocab][:_MAX_PHONEMES]
        styles = self._style(voice)
        audio = self._session.run(
            None,
            {
                "tokens": np.array([[0, *ids, 0]], dtype=np.int64),
                "style": styles[min(len(ids), len(styles) - 1)],
                "speed": np.array([speed], dtype=np.float32),
            },
        )[0]
        return np.asarray(audio, dtype=np.float32).reshape(-1)

    def _english(self, text: str, british: bool) -> str:
        if british not in self._g2p:
            from hibari.g2p import G2P

            self._g2p[british] = G2P(british=british)
        return self._g2p[british](text)

    def _style(self, voice: str) -> np.ndarray:
        if voice not in self._styles:
            path = self._folder / "voices" / f"{voice}.bin"
            self._styles[voice] = np.fromfile(path, dtype=np.float32).reshape(-1, 1, 256)
        return self._styles[voice]


def _espeak(text: str, language: str) -> str:
    """Phonemes of a text in the model's symbols; the punctuation, which espeak-ng leaves out, stays."""
    said = ""
    for part in _PAUSE.split(text):
        if _PAUSE.fullmatch(part):
            said += part
        elif part.strip():
            command = ["espeak-ng", "-q", "--ipa", "--tie=^", "-v", _ESPEAK[language], part.strip()]
            ipa = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
            # Where espeak-ng goes over to English for a word it says so in brackets.
            ipa = re.sub(r"\([\w-]*\)", "", " ".join(ipa.split()))
            for pair, symbol in _JOINED.items():
                ipa = ipa.replace("^".join(pair), symbol)
            said += (" " if said else "") + re.sub(r"[\^\-_|]", "", ipa)
    return said


class KokoroEngine:
    """Kokoro behind the interface of ``tts.py``.

    Args:
        folder: As for ``Kokoro``; None is the packaged asset.
        threads: As for ``Kokoro``; jobs run processes side by side instead.
    """

    has_speed = True

    def __init__(self, folder: str | None = None, threads: int = 1) -> None:
        from importlib.metadata import version

        from nemo_vtb.assets import resolve

        try:
            self._kokoro = Kokoro(folder or resolve("kokoro-82m"), threads)
            self.version = f"kokoro-82m int8, onnxruntime {version('onnxruntime')}"
        except ImportError as error:
            raise VTBError("the kokoro voices need onnxruntime: pip install 'nemo-vtb[synth]'") from error

    def voices(self, language: str) -> tuple[str, ...]:
        """See Engine.

        Raises:
            VTBError: If espeak-ng, which writes the phonemes of all languages but English, is not installed.
        """
        if language != "en" and language in VOICES and which("espeak-ng") is None:
            raise VTBError(
                f"kokoro needs espeak-ng for '{language}': install it with `apt-get install espeak-ng`, "
                f"or leave kokoro out of voices.{language}"
            )
        return VOICES.get(language, ())

    def speak(self, text: str, voice: str, language: str, speed: float) -> tuple[np.ndarray, int]:
        """See Engine."""
        return self._kokoro(text, voice, speed, language), KOKORO_SAMPLE_RATE
