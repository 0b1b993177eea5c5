"""VoiceTextBlender in vLLM 0.28, for folders of ``vtb export --to hf``; registered by the entry point of the package.

LoRA stays out of the LLM's weights where the model's is gated: vLLM loads ``FOLDER/lora`` for requests with a recording
(see ``nemo_vtb.inference.vllm_gate``), and a written request meets the untouched LLM.
"""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from vllm.config import ModelConfig, SpeechToTextConfig, VllmConfig
from vllm.inputs import TokensPrompt
from vllm.model_executor.models.interfaces import SupportsLoRA, SupportsMultiModal, SupportsPP, SupportsTranscription
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import AutoWeightsLoader, WeightsMapper, init_vllm_registered_model, maybe_prefix
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.transformers_utils.processor import cached_processor_from_config

from nemo_vtb.inference.vllm_input import AudioInfo, AudioProcessor, LongestClips
from nemo_vtb.modules.clip_encoder import ClipEncoder

_AUDIO = "<|audio|>"
_TRANSCRIBE = "Transcribe the audio."
# Of the LLM as PEFT and SALM have it, to the LLM as vLLM has it.
_LLM = ("llm.base_model.model.", "llm.")


@MULTIMODAL_REGISTRY.register_processor(AudioProcessor, info=AudioInfo, dummy_inputs=LongestClips)
class VoiceTextBlenderForVLLM(nn.Module, SupportsMultiModal, SupportsLoRA, SupportsPP, SupportsTranscription):
    """Speech encoder and adapter as they are in training, in vLLM's dtype, and vLLM's own class of the LLM.

    Args:
        vllm_config: vLLM's.
        prefix: Of module names.
    """

    packed_modules_mapping: ClassVar = {
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }
    # By it vLLM finds the layers that PEFT's names mean.
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_prefix={"model.": "language_model.model.", "lm_head.": "language_model.lm_head."}
    )
    # vLLM asks for one at least; see `validate_language`.
    supported_languages: ClassVar = {"en": "English"}

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
    def validate_language(cls, language: str | None) -> str | None:
        """Refuses a language: what was said decides it, and words of a prompt."""
        if language is not None:
            raise ValueError("language: this model takes none; say in prompt what is asked of it")
        return None

    @classmethod
    def get_generation_prompt(cls, stt_params: Any) -> TokensPrompt:
        """The prompt of a transcription: what ``vtb serve`` asks.

        Raises:
            ValueError: If the request asks for what the prompt does not.
        """
        if stt_params.task_type != "transcribe" or stt_params.hotwords:
            raise ValueError("translations and hotwords: say in the prompt of a chat completion what is asked")
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
