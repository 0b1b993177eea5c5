"""VoiceTextBlender behind the calls of a Transformers model that generates."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.hf.config import VoiceTextBlenderConfig
from nemo_vtb.models.answers.generate import default_generation_config
from nemo_vtb.models.prepare import compute_in
from nemo_vtb.models.voice_text_blender import VoiceTextBlender
from nemo_vtb.modules.llm.parts import position_limit
from nemo_vtb.parts.machine.choice import choose_precision
from nemo_vtb.parts.machine.hardware import look

# What Transformers' pipelines take, where nobody says how long an answer may be.
_NEW_TOKENS = 256


class VoiceTextBlenderForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """A folder of ``vtb export --to hf``, for ``generate`` and pipelines; ``vtb train`` trains.

    ``input_ids`` hold a placeholder for every frame, as ``VoiceTextBlenderProcessor`` writes them. Where the model's
    LoRA is gated, rows without a recording are answered by the untouched LLM.

    Args:
        config: Of the folder.
        blender: The model itself; None builds it with random weights.
    """

    config_class = VoiceTextBlenderConfig
    main_input_name = "input_ids"
    input_modalities = ("audio", "text")
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True

    def __init__(self, config: VoiceTextBlenderConfig, blender: VoiceTextBlender | None = None) -> None:
        super().__init__(config)
        self.blender = (blender if blender is not None else _untrained(config)).eval()
        # What Transformers takes for the default is not what every LLM runs with.
        config._attn_implementation = self.blender.backbone.attention
        for key, value in default_generation_config(self.blender).to_diff_dict().items():
            setattr(self.generation_config, key, value)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        pretrained_model_name_or_path: str | Path,
        *args: Any,
        config: VoiceTextBlenderConfig | None = None,
        dtype: torch.dtype | str | None = None,
        device_map: Any = None,
        attn_implementation: str | None = None,
        **kwargs: Any,
    ) -> "VoiceTextBlenderForConditionalGeneration":
        """Loads a folder, or a repository of the Hugging Face hub.

        Args:
            pretrained_model_name_or_path: Of either.
            *args: None.
            config: As loaded before.
            dtype: float32, or bfloat16: half-precision arithmetic as in training; ``auto`` is what ``vtb`` takes on
                this machine.
            device_map: A device; a model is on one alone.
            attn_implementation: The LLM's attention, by Transformers' names; None is what ``vtb`` takes. The ``Auto``
                classes hand it over within ``config``.
            **kwargs: ``revision``, ``cache_dir``, ``token`` and the like.

        Raises:
            VTBError: If the weights are of another kind, or cannot be computed in ``dtype`` or where ``device_map``
                says.
        """
        _refuse(kwargs, _NOT_LOADED_WITH, "models of nemo_vtb are not loaded with")
        hub = {key: kwargs[key] for key in _OF_HUB if kwargs.get(key) is not None}
        device = _device(device_map)
        precision = _precision(dtype or kwargs.get("torch_dtype"), device)
        config = config or VoiceTextBlenderConfig.from_pretrained(pretrained_model_name_or_path, **hub)
        blender = VoiceTextBlender.from_pretrained(str(pretrained_model_name_or_path), **hub)
        compute_in(blender.to(device), precision)
        if attention := attn_implementation or config._attn_implementation:
            blender.backbone.causal_lm.set_attn_implementation(attention)
        return cls(config, blender)

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:  # type: ignore[override]
        """Refused.

        Raises:
            VTBError: Always: ``vtb export`` writes such folders, from a checkpoint.
        """
        raise VTBError("a folder is written from a checkpoint: vtb export CHECKPOINT --to hf --out FOLDER")

    @property
    def dtype(self) -> torch.dtype:
        """Of recordings that are handed over; weights may be narrower."""
        return torch.float32

    def get_input_embeddings(self) -> torch.nn.Module:
        """The LLM's table."""
        return self.blender.embed_tokens

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        moved = super()._apply(fn, recurse)
        self.blender.to(self.device)
        return moved

    @torch.no_grad()
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        audio_values: Tensor | None = None,
        audio_lengths: Tensor | None = None,
        **ignored: Any,
    ) -> CausalLMOutputWithPast:
        """Scores prompts.

        Args:
            input_ids: ``(B, T)``, padded on the left.
            attention_mask: ``(B, T)``.
            audio_values: ``(clips, samples)``.
            audio_lengths: ``(clips,)``.
            **ignored: Switches of Transformers.

        Returns:
            Logits ``(B, T, vocabulary)``.

        Raises:
            VTBError: If placeholders and frames do not match, or something is asked for that it does not do.
        """
        _refuse(ignored, _NOT_SCORED_WITH, "this class scores and answers prompts; it takes no")
        with self.blender.arithmetic():
            asked = self._asked(input_ids, attention_mask, audio_values, audio_lengths)
            hidden = self.blender.backbone.cached_hidden_states(
                asked["embeds"], asked["attention_mask"], None, asked["ids"], asked["gate"]
            )
            logits = self.blender.backbone.project(hidden.flatten(0, 1))
        return CausalLMOutputWithPast(logits=logits.unflatten(0, hidden.shape[:2]))

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        audio_values: Tensor | None = None,
        audio_lengths: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answers prompts with the LLM's own ``generate``.

        Args:
            input_ids: See ``forward``.
            attention_mask: Likewise.
            audio_values: Likewise.
            audio_lengths: Likewise.
            generation_config: How; None takes the model's.
            **kwargs: Fields of it that are otherwise, and what else Transformers' ``generate`` takes.

        Returns:
            As Transformers' ``generate``: ids ``(B * returned sequences, T + new tokens)``, or its output class.

        Raises:
            VTBError: If placeholders and frames do not match, or a prompt leaves the LLM no position to answer at.
        """
        asked_at = input_ids.shape[1] if attention_mask is None else int(attention_mask.sum(1).max())
        if asked_at >= (most := position_limit(self.blender.backbone.causal_lm)):
            raise VTBError(f"a prompt has {asked_at:,} positions, and the LLM {most:,} for prompt and answer")
        config = copy.deepcopy(generation_config or self.generation_config)
        rest = config.update(**kwargs)
        if config.max_new_tokens is None and "max_length" not in kwargs:
            config.max_new_tokens = _NEW_TOKENS
        elif config.max_new_tokens is None:
            config.max_new_tokens = max(1, config.max_length - input_ids.shape[1])
        config.max_length = None
        with self.blender.arithmetic():
            asked = self._asked(input_ids, attention_mask, audio_values, audio_lengths)
            made = self.blender.backbone.generate(**asked, config=config, **rest)
        answers = made if isinstance(made, Tensor) else made.sequences
        prompts = input_ids.to(answers.device).repeat_interleave(len(answers) // len(input_ids), 0)
        whole = torch.cat([prompts, answers], dim=1)
        if isinstance(made, Tensor):
            return whole
        made.sequences = whole
        return made

    def _asked(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        audio_values: Tensor | None,
        audio_lengths: Tensor | None,
    ) -> dict[str, Tensor | None]:
        blender, backbone = self.blender, self.blender.backbone
        ids = input_ids.to(blender.device)
        spoken = ids == blender.audio_locator_tag_id
        embeds = backbone.embed(ids.masked_fill(spoken, 0).flatten()).unflatten(0, ids.shape).clone()
        frames, counts = None, []
        if (audio_values is None) != (audio_lengths is None):
            raise VTBError("audio_values and audio_lengths go together, as the processor returns them")
        if audio_values is not None and audio_lengths is not None:
            clips = {"audios": audio_values.to(blender.device), "audio_lens": audio_lengths.to(blender.device)}
            frames, counts = blender.encode_clips(clips)
        if (wanted := int(spoken.sum())) != sum(counts):
            raise VTBError(
                f"the prompts hold {wanted} audio placeholders for {sum(counts)} frames of {len(counts)} clips"
            )
        if frames is not None:
            embeds[spoken] = frames.to(embeds.dtype)
        mask = torch.ones_like(ids) if attention_mask is None else attention_mask.to(ids)
        gate = spoken.any(1)[:, None, None].float() if blender.gated else None
        return {
            "embeds": embeds,
            "attention_mask": mask,
            "ids": ids.masked_fill(spoken | (mask == 0), backbone.per_layer.pad),
            "gate": gate,
        }


_OF_HUB = ("revision", "cache_dir", "token", "force_download", "local_files_only")


_NOT_LOADED_WITH = ("quantization_config", "load_in_4bit", "load_in_8bit", "max_memory")
_NOT_SCORED_WITH = ("labels", "past_key_values", "inputs_embeds", "output_hidden_states", "output_attentions")


def _refuse(given: Mapping[str, Any], names: tuple[str, ...], why: str) -> None:
    for name in names:
        if given.get(name) is not None and given[name] is not False:
            raise VTBError(f"{why} {name}")


def _untrained(config: VoiceTextBlenderConfig) -> VoiceTextBlender:
    return VoiceTextBlender({**config.section(), "pretrained_weights": False})


def _device(device_map: Any) -> torch.device:
    if isinstance(device_map, Mapping):
        placed = set(map(str, device_map.values()))
        if len(placed) > 1:
            raise VTBError(f"device_map names {', '.join(sorted(placed))}; the model is on one device alone")
        device_map = placed.pop()
    if device_map is None:
        return torch.device("cpu")
    if device_map == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(f"cuda:{device_map}" if str(device_map).isdigit() else device_map)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise VTBError(f"device_map is {device_map!r}, and PyTorch finds no GPU here: leave it out, or say auto")
    return device


def _precision(dtype: torch.dtype | str | None, device: torch.device) -> str:
    if dtype in (None, "auto"):
        return choose_precision(look(device.type)).value
    name = str(dtype).removeprefix("torch.")
    known = {"float32": "32-true", "bfloat16": "bf16-mixed"}
    if name not in known:
        raise VTBError(f"dtype is {name}; it is {', '.join(known)} or auto")
    return known[name]
