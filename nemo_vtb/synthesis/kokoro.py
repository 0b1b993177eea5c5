"""Kokoro-82M as a text-to-speech back end: 28 English voices on a CPU through ONNX Runtime.

The model takes phoneme ids, a style vector chosen by the number of phonemes, and a speed; it returns 24 kHz audio.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

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


class Kokoro:
    """Speaks English text with a named voice.

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

    def __call__(self, text: str, voice: str, speed: float = 1.0) -> np.ndarray:
        """Speaks ``text``.

        Returns:
            Float32 mono samples at 24 kHz, shape ``(samples,)``.
        """
        phonemes = self._phonemize(text, british=voice.startswith("b"))
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

    def _phonemize(self, text: str, british: bool) -> str:
        if british not in self._g2p:
            from hibari.g2p import G2P

            self._g2p[british] = G2P(british=british)
        return self._g2p[british](text)

    def _style(self, voice: str) -> np.ndarray:
        if voice not in self._styles:
            path = self._folder / "voices" / f"{voice}.bin"
            self._styles[voice] = np.fromfile(path, dtype=np.float32).reshape(-1, 1, 256)
        return self._styles[voice]
