"""The round trip of a clip: Whisper writes down what it hears, and that is compared with what was to be said.

Whisper pads every clip to 30 s, and nearly all of its time goes into encoding silence. Here a clip is encoded with one
second of silence behind it, and the frames of the rest are those of silence alone, encoded once. The decoder sees what
it knows, ends where it should, and three times as many clips are read in the same time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.voices.speakable import heard_form

_RATE = 16_000
_TAIL_FRAMES = 100
# Of log-mel features scaled as Whisper does: what it sees where nothing sounds.
_SILENCE = -1.5
# Tokens that a transcript may have per token of the sentence: beyond, it is a loop.
_SLACK, _EXTRA = 1.3, 6


def character_error_rate(said: str, heard: str, language: str) -> float:
    """Returns edits per character of what was to be said, when both are written as they sound.

    Args:
        said: The sentence.
        heard: What was understood.
        language: ISO 639-1 code.
    """
    from kaldialign import edit_distance

    reference, hypothesis = heard_form(said, language), heard_form(heard, language)
    return edit_distance(list(reference), list(hypothesis))["total"] / max(1, len(reference))


class Listener:
    """Whisper, as fast as it goes on a processor.

    Args:
        model: An asset, a folder or a hub id.
        batch: Clips at a time.
    """

    def __init__(self, model: str, batch: int = 8) -> None:
        import torch
        from transformers import AutoConfig, WhisperForConditionalGeneration, WhisperTokenizerFast

        from nemo_vtb.assets import resolve
        from nemo_vtb.assets.quiet import quiet_transformers
        from nemo_vtb.modules.whisper import WhisperFeatures

        folder = resolve(model)
        with quiet_transformers():
            try:
                # Another model's weights would be left out with a warning, and Whisper's be random.
                if (kind := AutoConfig.from_pretrained(folder).model_type) != "whisper":
                    raise ValueError(f"its type is {kind}")
                self._model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
                self._tokenizer = WhisperTokenizerFast.from_pretrained(folder)
            except (OSError, ValueError) as error:
                raise VTBError(f"gate.asr: {model} is no Whisper model: {error}") from error
        self._features = WhisperFeatures(self._model.config.num_mel_bins)
        self._batch = batch
        self._frames = self._model.config.max_source_positions * 2
        self._silence = self._encoded(torch.full((1, self._model.config.num_mel_bins, self._frames), _SILENCE))

    def hear(self, clips: Sequence[np.ndarray], sentences: Sequence[str], language: str) -> list[str]:
        """Writes down clips.

        Args:
            clips: Float32 mono at 16 kHz, up to 30 s each.
            sentences: What was to be said; they limit how much is written.
            language: ISO 639-1 code.

        Returns:
            One transcript per clip, in order.
        """
        heard = [""] * len(clips)
        # Clips of like length together: little padding.
        order = sorted(range(len(clips)), key=lambda place: (len(clips[place]), place))
        for start in range(0, len(order), self._batch):
            places = order[start : start + self._batch]
            texts = self._batch_of([clips[place] for place in places], [sentences[place] for place in places], language)
            for place, text in zip(places, texts, strict=True):
                heard[place] = text.strip()
        return heard

    def _batch_of(self, clips: list[np.ndarray], sentences: list[str], language: str) -> list[str]:
        import torch
        from transformers.modeling_outputs import BaseModelOutput

        from nemo_vtb.assets.quiet import quiet_transformers

        lengths = torch.tensor([len(clip) for clip in clips])
        signal = torch.zeros(len(clips), int(lengths.max()))
        for row, clip in zip(signal, clips, strict=True):
            row[: len(clip)] = torch.from_numpy(clip)
        mel, frames = self._features(signal, lengths)
        width = min(self._frames, (mel.shape[-1] + _TAIL_FRAMES + 1) // 2 * 2)
        padded = torch.full((len(clips), mel.shape[1], width), 0.0)
        for row, found, length in zip(padded, mel, frames.clamp(max=width).tolist(), strict=True):
            row.fill_(float(found[:, :length].min()))
            row[:, :length] = found[:, :length]
        with torch.inference_mode(), quiet_transformers():
            states = self._encoded(padded)
            rest = self._silence[:, states.shape[1] :].expand(len(clips), -1, -1)
            longest = max(len(self._tokenizer(sentence).input_ids) for sentence in sentences)
            spoken: dict[str, Any] = {}
            if self._model.generation_config.is_multilingual:
                spoken = {"language": language, "task": "transcribe"}
            ids = self._model.generate(
                encoder_outputs=BaseModelOutput(last_hidden_state=torch.cat([states, rest], dim=1)),
                max_new_tokens=min(int(longest * _SLACK) + _EXTRA, self._model.config.max_target_positions // 2),
                do_sample=False,
                num_beams=1,
                **spoken,
            )
        return self._tokenizer.batch_decode(ids, skip_special_tokens=True)

    def _encoded(self, mel: Any) -> Any:
        """``(B, mel, frames)`` of any length up to 30 s to ``(B, frames / 2, d_model)``."""
        import torch

        encoder, gelu = self._model.model.encoder, torch.nn.functional.gelu
        with torch.inference_mode():
            hidden = gelu(encoder.conv2(gelu(encoder.conv1(mel)))).transpose(1, 2)
            hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
            for layer in encoder.layers:
                out = layer(hidden, None)
                hidden = out[0] if isinstance(out, tuple) else out
            return encoder.layer_norm(hidden)


class Gate:
    """Lets a clip pass that is understood.

    Args:
        models: ``{language: model}``; ``any`` stands for all other languages.
        limit: Largest character error rate of a clip that passes.
        batch: Clips at a time.
    """

    def __init__(self, models: Mapping[str, str], limit: float, batch: int) -> None:
        self.limit = limit
        self._models, self._batch = models, batch
        self._listeners: dict[str, Listener] = {}

    def rates(self, clips: Sequence[np.ndarray], sentences: Sequence[str], language: str) -> list[float]:
        """Returns the character error rate of each clip.

        Raises:
            VTBError: If no model is named for the language.
        """
        name = self._models.get(language, self._models.get("any"))
        if name is None:
            raise VTBError(f"gate.asr names no model for '{language}': add one, or one for any language")
        if name not in self._listeners:
            self._listeners[name] = Listener(name, self._batch)
        heard = self._listeners[name].hear(clips, sentences, language)
        return [
            round(character_error_rate(said, text, language), 4) for said, text in zip(sentences, heard, strict=True)
        ]
