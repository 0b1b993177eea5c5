"""A Hugging Face Whisper encoder, or Voxtral's, in NeMo's perception module, at each clip's true length.

Whisper pads every clip to 30 s; an encoder whose positions are cut to the clip keeps the words and costs a fraction.
Results do not depend on what a clip is batched with: padding is masked before every layer that could see it.
"""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.encoders.families import (
    WHISPER_TARGET,
    encoder_class,
    encoder_config,
    family_of,
    load_encoder,
    read_config,
)

_N_FFT, _HOP, _SAMPLE_RATE = 400, 160, 16_000


class WhisperFeatures(nn.Module):
    """Log-mel features as in ``transformers.WhisperFeatureExtractor``, batched and on the device.

    Args:
        features: Number of mel bands, 80 or 128.
    """

    def __init__(self, features: int = 80) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        filters = mel_filter_bank(
            1 + _N_FFT // 2, features, 0.0, _SAMPLE_RATE / 2, _SAMPLE_RATE, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("filters", torch.as_tensor(filters, dtype=torch.float32), persistent=False)
        self.register_buffer("window", torch.hann_window(_N_FFT), persistent=False)
        # The names NeMo reads from a preprocessor.
        self.featurizer = SimpleNamespace(sample_rate=_SAMPLE_RATE, hop_length=_HOP)

    @torch.no_grad()
    def forward(self, input_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Computes features.

        Args:
            input_signal: ``(B, samples)`` at 16 kHz, zero beyond each clip's length.
            length: ``(B,)`` in samples.

        Returns:
            Features ``(B, mel, frames)`` at 100 Hz, zero beyond each clip, and lengths ``(B,)`` in frames.
        """
        with torch.autocast(input_signal.device.type, enabled=False):
            signal = nn.functional.pad(input_signal.float(), (0, _N_FFT))
            spectrum = torch.stft(signal, _N_FFT, _HOP, window=self.window.float(), return_complex=True)
            frames = torch.div(length + _HOP - 1, _HOP, rounding_mode="floor").clamp(min=1)
            power = spectrum.abs().square()[..., : int(frames.max())]
            mel = (self.filters.float().T @ power).clamp(min=1e-10).log10()
            valid = torch.arange(mel.shape[-1], device=mel.device) < frames[:, None]
            peak = mel.masked_fill(~valid[:, None], -10.0).amax(dim=(1, 2), keepdim=True)
            mel = (torch.maximum(mel, peak - 8.0) + 4.0) / 4.0
        return mel * valid[:, None], frames


class WhisperEncoder(nn.Module):
    """The encoder of a Hugging Face Whisper model: 50 frames a second.

    Args:
        pretrained: A Hugging Face folder or hub id.
        pretrained_weights: False builds the same shapes with random weights.
        config: Fields of its config, for when there are to be no weights and the folder may be elsewhere.
    """

    subsampling_factor = 2

    def __init__(
        self, pretrained: str, pretrained_weights: bool = True, config: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        if pretrained_weights:
            model_type = read_config(pretrained).model_type
            family_of(model_type, f"model.pretrained_asr={pretrained}", WHISPER_TARGET)
            model = load_encoder(pretrained, model_type)
        else:
            known = encoder_config(pretrained, config, "whisper")
            family_of(known.model_type, "model.perception.encoder.config", WHISPER_TARGET)
            model = encoder_class(known.model_type)(known)
        self.encoder = model.get_encoder() if hasattr(model, "decoder") else model
        self.d_model = self.encoder.config.d_model

    @property
    def max_frames(self) -> int:
        """The longest clip in mel frames (100 Hz); 3000, that is 30 s, for every published Whisper."""
        return self.encoder.config.max_source_positions * self.subsampling_factor

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes clips.

        Args:
            audio_signal: ``(B, mel, frames)`` log-mel features at 100 Hz.
            length: ``(B,)`` in frames.

        Returns:
            ``(B, d_model, ceil(frames / 2))`` at 50 Hz and lengths ``(B,)``.

        Raises:
            VTBError: If a clip is longer than the position table.
        """
        if audio_signal.shape[-1] > self.max_frames:
            raise VTBError(
                f"a clip of {audio_signal.shape[-1] / 100:.1f} s is longer than Whisper's {self.max_frames / 100:.0f} "
                "s; set model.encoder_chunk_size_seconds=30 to encode it in chunks, or lower data.*.max_duration"
            )
        encoder = self.encoder
        gelu = nn.functional.gelu
        dtype = encoder.conv1.weight.dtype
        valid = torch.arange(audio_signal.shape[-1], device=audio_signal.device) < length[:, None]
        hidden = gelu(encoder.conv1(audio_signal.to(dtype))) * valid[:, None]
        hidden = gelu(encoder.conv2(hidden)).transpose(1, 2)
        lengths = torch.div(length + 1, 2, rounding_mode="floor")
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        valid = torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        mask = torch.zeros(valid.shape, dtype=hidden.dtype, device=hidden.device)
        mask = mask.masked_fill(~valid, torch.finfo(hidden.dtype).min)[:, None, None, :]
        mask = mask.expand(-1, 1, hidden.shape[1], -1)
        for layer in encoder.layers:
            out = layer(hidden, mask)
            hidden = out[0] if isinstance(out, tuple) else out
        return encoder.layer_norm(hidden).transpose(1, 2), lengths
