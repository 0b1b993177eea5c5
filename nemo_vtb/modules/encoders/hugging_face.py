"""Hugging Face speech encoders in NeMo's perception module, each clip's frames the same whatever it is batched with."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.encoders.families import (
    FEATURES,
    SPEECH_TARGET,
    encoder_class,
    encoder_config,
    family_of,
    load_encoder,
    read_config,
    width_of,
)

_SAMPLE_RATE = 16_000
# What the convolutions need; shorter clips are followed by silence.
_LEAST_SAMPLES = 1600


class SpeechFeatures(nn.Module):
    """A model's own feature extractor, run on each clip by itself.

    Args:
        config: Fields of its ``preprocessor_config.json``, ``feature_extractor_type`` among them.
        hop_length: Samples from one frame that comes out to the next.
    """

    def __init__(self, config: Mapping[str, Any], hop_length: int = 160) -> None:
        super().__init__()
        import transformers

        fields = {key: value for key, value in dict(config).items() if key != "processor_class"}
        name = fields.pop("feature_extractor_type", None)
        if name not in FEATURES:
            raise VTBError(
                f"model.perception.preprocessor.config.feature_extractor_type is {name!r}; it may be "
                f"{', '.join(FEATURES)}"
            )
        self.extractor = getattr(transformers, name)(**fields)
        if self.extractor.sampling_rate != _SAMPLE_RATE:
            raise VTBError(f"the speech encoder hears {self.extractor.sampling_rate} Hz; only 16000 Hz is supported")
        # The names NeMo reads from a preprocessor.
        self.featurizer = SimpleNamespace(sample_rate=_SAMPLE_RATE, hop_length=hop_length)

    @torch.no_grad()
    def forward(self, input_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Computes features on the host, as Hugging Face does.

        Args:
            input_signal: ``(B, samples)`` at 16 kHz.
            length: ``(B,)`` in samples.

        Returns:
            ``(B, 1, samples)`` or ``(B, features, frames)``, float32, zero beyond each clip, and lengths ``(B,)``.
        """
        signals = input_signal.float().cpu()
        clips = [self._of_clip(row[:count]) for row, count in zip(signals, length.tolist(), strict=True)]
        lengths = torch.tensor([len(clip) for clip in clips], device=length.device, dtype=length.dtype)
        return pad_sequence(clips, batch_first=True).transpose(1, 2).to(input_signal.device), lengths

    def _of_clip(self, signal: Tensor) -> Tensor:
        """``(samples,)`` to ``(T, features)``."""
        signal = nn.functional.pad(signal, (0, max(0, _LEAST_SAMPLES - len(signal))))
        made = self.extractor(
            signal.numpy(), sampling_rate=_SAMPLE_RATE, return_tensors="pt", return_attention_mask=True
        )
        if "input_values" in made:
            return made["input_values"][0].float()[:, None]
        return made["input_features"][0].float()[: int(made["attention_mask"][0].sum())]


class SpeechEncoder(nn.Module):
    """A Hugging Face speech encoder.

    Args:
        pretrained: A folder or hub id.
        pretrained_weights: False builds the same shapes with random weights.
        config: Fields of the encoder's own config, ``model_type`` among them, for when the folder may be elsewhere.
    """

    # ``SpeechFeatures.featurizer.hop_length`` says what lies between two frames that come out.
    subsampling_factor = 1

    def __init__(
        self, pretrained: str, pretrained_weights: bool = True, config: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        if pretrained_weights:
            model_type = read_config(pretrained).model_type
            family = family_of(model_type, f"model.pretrained_asr={pretrained}", SPEECH_TARGET)
            self.encoder = load_encoder(pretrained, model_type)
            known = self.encoder.config
        else:
            known = encoder_config(pretrained, config)
            family = family_of(known.model_type, "model.perception.encoder.config", SPEECH_TARGET)
            self.encoder = encoder_class(known.model_type)(known)
        if getattr(known, "add_adapter", False):
            raise VTBError(f"model.pretrained_asr={pretrained}: config.add_adapter=true is not supported")
        self._fed = "alone" if getattr(known, "conv_pos_batch_norm", False) else family.fed
        # Layers that are left out at random get no gradient, for which data-parallel ranks would wait.
        known.layerdrop = 0.0
        known.apply_spec_augment = False
        self.encoder.masked_spec_embed = None
        self.d_model = width_of(known)

    def forward(self, audio_signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes clips.

        Args:
            audio_signal: From ``SpeechFeatures``: ``(B, 1, samples)`` or ``(B, features, frames)``.
            length: ``(B,)`` in samples or frames.

        Returns:
            ``(B, d_model, T)`` and lengths ``(B,)`` in frames.
        """
        signal = audio_signal.to(next(self.encoder.parameters()).dtype)
        if self._fed == "alone":
            clips = [self._alone(row[0, :count]) for row, count in zip(signal, length.tolist(), strict=True)]
            lengths = torch.tensor([len(clip) for clip in clips], device=length.device, dtype=length.dtype)
            return pad_sequence(clips, batch_first=True).transpose(1, 2), lengths
        encode = self._waveform if self._fed == "waveform" else self._frames
        hidden, lengths = encode(signal, length)
        return hidden.transpose(1, 2), lengths.to(length.dtype)

    def _alone(self, samples: Tensor) -> Tensor:
        return self.encoder(samples[None]).last_hidden_state[0]

    def _waveform(self, signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        encoder = self.encoder
        if encoder.config.feat_extract_norm == "group":
            # Its norm is over the whole of a clip, padding included.
            pairs = zip(signal, length.tolist(), strict=True)
            parts = [encoder.feature_extractor(row[:, :count])[0].T for row, count in pairs]
            extracted = pad_sequence(parts, batch_first=True)
        else:
            extracted = encoder.feature_extractor(signal[:, 0]).transpose(1, 2)
        projected = encoder.feature_projection(extracted)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        lengths = encoder._get_feat_extract_output_lengths(length)
        return encoder.encoder(hidden, attention_mask=_valid(hidden, lengths)).last_hidden_state, lengths

    def _frames(self, signal: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        features = signal.transpose(1, 2)
        hidden = self.encoder(features, attention_mask=_valid(features, length)).last_hidden_state
        shorter = getattr(self.encoder, "_get_subsampling_output_length", None)
        return hidden, length if shorter is None else shorter(length)


def _valid(hidden: Tensor, lengths: Tensor) -> Tensor:
    """``(B, T)`` bool: which of ``(B, T, D)`` belong to their clip."""
    return torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
