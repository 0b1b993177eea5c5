"""NeMo's own text-to-speech models behind the interface of ``tts.py``."""

from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from nemo_vtb.errors import VTBError


class FastPitch:
    """FastPitch with HiFi-GAN, the paper's voices: one voice per speaker id.

    Args:
        spectrogram: A ``.nemo`` file or a pretrained name, such as ``tts_en_fastpitch_multispeaker``.
        vocoder: The same, such as ``tts_en_hifitts_hifigan_ft_fastpitch``.
        language: What its tokenizer reads, ISO 639-1.
        device: Of both models.
    """

    has_speed = True

    def __init__(
        self, spectrogram: str | None = None, vocoder: str | None = None, language: str = "en", device: str = "cpu"
    ) -> None:
        from nemo.collections.tts.models import FastPitchModel, HifiGanModel

        self._spectrogram = _restored(FastPitchModel, spectrogram, "engines.fastpitch.spectrogram", device)
        self._vocoder = _restored(HifiGanModel, vocoder, "engines.fastpitch.vocoder", device)
        self._language = language
        self._speakers = int(self._spectrogram.cfg.get("n_speakers", 0))
        self.version = f"{Path(str(spectrogram)).name} with {Path(str(vocoder)).name}, {_nemo()}"

    def voices(self, language: str) -> tuple[str, ...]:
        """See Engine."""
        return tuple(map(str, range(max(1, self._speakers)))) if language == self._language else ()

    def speak(self, text: str, voice: str, language: str, speed: float) -> tuple[np.ndarray, int]:
        """See Engine."""
        import torch

        with torch.inference_mode():
            tokens = self._spectrogram.parse(text, normalize=False)
            speaker = int(voice) if self._speakers > 1 else None
            spectrogram = self._spectrogram.generate_spectrogram(tokens=tokens, speaker=speaker, pace=speed)
            audio = self._vocoder.convert_spectrogram_to_audio(spec=spectrogram)
        return audio[0].float().cpu().numpy(), int(self._vocoder.sample_rate)


class Magpie:
    """Magpie, a multilingual model with voices baked into its checkpoint; it has no speed.

    Args:
        model: A ``.nemo`` file or a pretrained name.
        languages: That its tokenizers read, ISO 639-1, joined by commas.
        device: Of the model.
    """

    has_speed = False

    def __init__(self, model: str | None = None, languages: str = "en", device: str = "cpu") -> None:
        from nemo.collections.tts.models import MagpieTTSModel

        self._model = _restored(MagpieTTSModel, model, "engines.magpie.model", device)
        self._languages = languages.split(",")
        if not self._model.has_baked_context_embedding:
            raise VTBError(f"engines.magpie.model={model} has no voices of its own: name a checkpoint that has")
        self.version = f"{Path(str(model)).name}, {_nemo()}"

    def voices(self, language: str) -> tuple[str, ...]:
        """See Engine."""
        return tuple(map(str, range(self._model.num_baked_speakers))) if language in self._languages else ()

    def speak(self, text: str, voice: str, language: str, speed: float) -> tuple[np.ndarray, int]:
        """See Engine."""
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(crc32(f"{voice} {text}".encode()))
            audio, lengths = self._model.do_tts(text, language=language, speaker_index=int(voice))
        return audio[0, : int(lengths[0])].float().cpu().numpy(), int(self._model.output_sample_rate)


def _restored(kind: Any, name: str | None, key: str, device: str) -> Any:
    if not name:
        raise VTBError(f"missing config key {key}: a .nemo file, or the name of a pretrained {kind.__name__}")
    try:
        if str(name).endswith(".nemo"):
            if not Path(name).is_file():
                raise VTBError(f"{key}: no such file: {name}")
            model = kind.restore_from(str(name), map_location=device)
        else:
            model = kind.from_pretrained(name, map_location=device)
    except (OSError, FileNotFoundError, ValueError) as error:
        raise VTBError(f"{key}={name} cannot be loaded: {error}") from error
    return model.eval()


def _nemo() -> str:
    from importlib.metadata import version

    return f"nemo_toolkit {version('nemo_toolkit')}"
