"""VoiceTextBlender in vLLM 0.28, for folders of ``vtb export --to hf``; registered by the entry point of the package.

LoRA stays out of the LLM's weights where the model's is gated: vLLM is told to load ``FOLDER/lora`` for requests with a
recording (``--default-mm-loras``), and a written request meets the untouched LLM. With ``--max-loras 2``: on a CPU,
vLLM takes the last slot for rows without LoRA, and that one must be empty. A clip that is too long is refused
before it comes to the engine, which an error of the encoder would end.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from transformers import BatchFeature
from vllm.config import ModelConfig, SpeechToTextConfig, VllmConfig
from vllm.inputs import TokensPrompt
from vllm.model_executor.models.interfaces import SupportsLoRA, SupportsMultiModal, SupportsPP, SupportsTranscription
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import AudioProcessorItems, MultiModalDataParser
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
)
from vllm.transformers_utils.processor import cached_processor_from_config

from nemo_vtb.modules.clip_encoder import ClipEncoder

_AUDIO = "<|audio|>"
_TRANSCRIBE = "Transcribe the audio."
# Of the LLM as PEFT and SALM have it, to the LLM as vLLM has it.
_LLM = ("llm.base_model.model.", "llm.")


class _Info(BaseProcessingInfo):
    def get_data_parser(self) -> MultiModalDataParser:
        return MultiModalDataParser(
            target_sr=self.get_hf_processor().sampling_rate,
            target_channels=1,
            expected_hidden_size=self._get_expected_hidden_size(),
        )

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return {"audio": None}

    @property
    def most_samples(self) -> int:
        """The longest clip that is taken."""
        return self.get_hf_processor().frame_rule["most_samples"]


class _Dummies(BaseDummyInputsBuilder[_Info]):
    def get_dummy_mm_data(self, seq_len: int, mm_counts: Mapping[str, int], mm_options: Mapping[str, Any]) -> Any:
        number = mm_counts.get("audio", 0)
        return {"audio": self._get_dummy_audios(length=self.info.most_samples, num_audios=number)}

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return _AUDIO * mm_counts.get("audio", 0)


class _Processor(BaseMultiModalProcessor[_Info]):
    def _call_hf_processor(
        self, prompt: str, mm_data: Mapping[str, Any], mm_kwargs: Mapping[str, Any], tok_kwargs: Mapping[str, Any]
    ) -> BatchFeature:
        processor = self.info.get_hf_processor(**mm_kwargs)
        made: dict[str, Any] = {"input_ids": [processor.tokenizer.encode(prompt, add_special_tokens=False)]}
        clips = [torch.as_tensor(clip, dtype=torch.float32).flatten() for clip in mm_data.get("audios", ())]
        for clip in clips:
            if not len(clip):
                raise ValueError("a recording holds no sound")
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


@MULTIMODAL_REGISTRY.register_processor(_Processor, info=_Info, dummy_inputs=_Dummies)
class VoiceTextBlenderForVLLM(nn.Module, SupportsMultiModal, SupportsLoRA, SupportsPP, SupportsTranscription):
    """Speech encoder and adapter as they are in training, in vLLM's dtype, and vLLM's own class of the LLM.

    Args:
        vllm_config: vLLM's.
        prefix: Of module names.
    """

    packed_modules_mapping = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}
    # By it vLLM finds the layers that PEFT's names mean.
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={"model.": "language_model.model.", "lm_head.": "language_model.lm_head."}
    )
    supported_languages = {"en": "English"}

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        from nemo.collections.speechlm2.modules.perception import AudioPerceptionModule

        config = vllm_config.model_config.hf_config
        processor = cached_processor_from_config(vllm_config.model_config)
        self.config, self._sampling_rate = config, processor.sampling_rate
        self.configure_mm_token_handling(config.text_config.vocab_size, [processor.audio_token_id])
        with self._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=config.text_config,
                prefix=maybe_prefix(prefix, "language_model"),
                architectures=config.text_config.architectures,
            )
        with self._mark_tower_model(vllm_config, {"audio"}):
            dtype = torch.get_default_dtype()
            # Features are computed in float32, whatever the model is in.
            torch.set_default_dtype(torch.float32)
            try:
                self.perception = AudioPerceptionModule(DictConfig(config.perception)).eval()
            finally:
                torch.set_default_dtype(dtype)
            for part in (self.perception.encoder, self.perception.modality_adapter, self.perception.proj):
                part.to(dtype)
        self._encode = ClipEncoder(self.perception, None, getattr(config, "encoder_chunk_size_seconds", None))
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        """What stands in a prompt for a recording."""
        return _AUDIO if modality.startswith("audio") else None

    def embed_multimodal(self, **kwargs: Any) -> Any:
        """Frames ``(F, H)`` of each clip."""
        clips = kwargs.get("audio_values")
        if clips is None:
            return []
        device = next(self.perception.parameters()).device
        rows = [clip.flatten().float().to(device) for clip in clips]
        batch = {
            "audios": nn.utils.rnn.pad_sequence(rows, batch_first=True),
            "audio_lens": torch.tensor([len(row) for row in rows], device=device),
        }
        frames, counts = self._encode(batch)
        assert frames is not None
        return frames.split(counts)

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Hidden states, as vLLM asks for them."""
        if intermediate_tensors is not None:
            inputs_embeds = None
        return self.language_model(input_ids, positions, intermediate_tensors, inputs_embeds)

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        """Hidden states to logits."""
        return self.language_model.compute_logits(hidden_states)

    def get_mm_mapping(self) -> MultiModelKeys:
        """Which modules are the LLM's."""
        return MultiModelKeys.from_string_field(
            language_model="language_model", connector="perception.proj", tower_model="perception.encoder"
        )

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        """Loads a folder's weights; LoRA only where it always acts, added to them."""
        heard, base, lora = {}, {}, {}
        for name, tensor in weights:
            if name.startswith("perception."):
                heard[name.removeprefix("perception.")] = tensor
            elif ".lora_" in name:
                lora[name] = tensor
            elif not name.startswith("alignment."):
                base[name.replace(".base_layer.", ".")] = tensor
        if lora and getattr(self.config, "text_lora", None) != "audio_gated":
            self._add(lora, base)
        self.perception.load_state_dict(heard)
        loaded = AutoWeightsLoader(self, skip_prefixes=["perception."]).load_weights(
            (f"language_model.{_name_in_llm(name)}", tensor) for name, tensor in base.items()
        )
        return loaded | {f"perception.{name}" for name in self.perception.state_dict()}

    def _add(self, lora: Mapping[str, Tensor], base: dict[str, Tensor]) -> None:
        scale = self.config.lora["lora_alpha"] / self.config.lora["r"]
        for name, down in lora.items():
            if ".lora_A." in name:
                up = lora[name.replace(".lora_A.", ".lora_B.")]
                whole = name.partition(".lora_A.")[0] + ".weight"
                base[whole] = (base[whole].float() + scale * (up.float() @ down.float())).to(base[whole].dtype)

    @classmethod
    def get_speech_to_text_config(cls, model_config: ModelConfig, task_type: str) -> SpeechToTextConfig:
        """Long recordings come in pieces that the encoder takes."""
        processor = cached_processor_from_config(model_config)
        seconds = int(processor.frame_rule["most_samples"] / processor.sampling_rate)
        return SpeechToTextConfig(sample_rate=processor.sampling_rate, max_audio_clip_s=seconds)

    @classmethod
    def get_generation_prompt(cls, stt_params: Any) -> TokensPrompt:
        """The prompt of a transcription: what ``vtb serve`` asks."""
        processor = cached_processor_from_config(stt_params.model_config)
        asked = stt_params.request_prompt or _TRANSCRIBE
        parts = [{"type": "text", "text": asked}, {"type": "audio"}]
        text = processor.tokenizer.apply_chat_template(
            [{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True
        )
        ids = processor.tokenizer.encode(text, add_special_tokens=False)
        return TokensPrompt(prompt_token_ids=ids, multi_modal_data={"audio": stt_params.audio})

    @classmethod
    def get_num_audio_tokens(
        cls, audio_duration_s: float, stt_config: SpeechToTextConfig, model_config: ModelConfig
    ) -> int | None:
        """Frames of so many seconds."""
        return cached_processor_from_config(model_config).frames(int(audio_duration_s * stt_config.sample_rate))


def _name_in_llm(name: str) -> str:
    if name.startswith("embed_tokens."):
        return f"model.{name}"
    for prefix in _LLM:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name
