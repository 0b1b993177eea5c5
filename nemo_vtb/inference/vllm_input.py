"""From a request's prompt and recordings to what the model is fed, in vLLM."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import BatchFeature
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import AudioProcessorItems, MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
)


class AudioInfo(BaseProcessingInfo):
    """What a folder says about recordings."""

    def get_data_parser(self) -> MultiModalDataParser:
        """Brings recordings to the encoder's rate, and mixes them down."""
        return MultiModalDataParser(
            target_sr=self.get_hf_processor().sampling_rate,
            target_channels=1,
            expected_hidden_size=self._get_expected_hidden_size(),
        )

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        """As many recordings in a conversation as fit."""
        return {"audio": None}

    @property
    def most_samples(self) -> int:
        """The longest clip that is taken."""
        return self.get_hf_processor().frame_rule["most_samples"]


class LongestClips(BaseDummyInputsBuilder[AudioInfo]):
    """What vLLM measures its memory with."""

    def get_dummy_mm_data(self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]) -> Any:
        """The longest clips."""
        number = mm_counts.get("audio", 0)
        return {"audio": self._get_dummy_audios(length=self.info.most_samples, num_audios=number)}

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        """A placeholder for each."""
        return self.info.get_hf_processor().audio_token * mm_counts.get("audio", 0)


class AudioProcessor(BaseMultiModalProcessor[AudioInfo]):
    """Takes recordings that the encoder can take, and puts as many placeholders as they have frames."""

    def _call_hf_processor(
        self, prompt: str, mm_data: Mapping[str, Any], mm_kwargs: Mapping[str, Any], tok_kwargs: Mapping[str, Any]
    ) -> BatchFeature:
        processor = self.info.get_hf_processor(**mm_kwargs)
        made: dict[str, Any] = {"input_ids": [processor.tokenizer.encode(prompt, add_special_tokens=False)]}
        clips = [torch.as_tensor(clip, dtype=torch.float32).flatten() for clip in mm_data.get("audios", ())]
        for clip in clips:
            if not len(clip):
                raise ValueError("a recording holds no sound")
            # In the engine, an error of the encoder would end the server.
            if len(clip) > self.info.most_samples:
                seconds, most = (count / processor.sampling_rate for count in (len(clip), self.info.most_samples))
                raise ValueError(f"a recording of {seconds:.1f} s is longer than the {most:g} s that are taken: cut it")
        result = BatchFeature(made, tensor_type="pt")
        if clips:
            result["audio_values"], result["audio_lengths"] = clips, torch.tensor([len(clip) for clip in clips])
        return result

    def _hf_processor_applies_updates(self, *args: Any, **kwargs: Any) -> bool:
        return False

    def _get_mm_fields_config(self, hf_inputs: BatchFeature, hf_processor_mm_kwargs: Mapping[str, Any]) -> Any:
        return {name: MultiModalFieldConfig.batched("audio") for name in ("audio_values", "audio_lengths")}

    def _get_prompt_updates(self, mm_items: Any, hf_processor_mm_kwargs: Mapping[str, Any], out_mm_kwargs: Any) -> Any:
        processor = self.info.get_hf_processor(**hf_processor_mm_kwargs)
        clips = mm_items.get_items("audio", AudioProcessorItems)

        def frames(number: int) -> list[int]:
            return [processor.audio_token_id] * processor.frames(len(clips.get(number)))

        return [PromptReplacement(modality="audio", target=[processor.audio_token_id], replacement=frames)]
