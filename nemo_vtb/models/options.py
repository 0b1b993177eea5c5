"""The section ``model``: its keys, which of them must be there, and the typed options of step and retention."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.modules.quantized import check_quantization
from nemo_vtb.parts.lora_fields import check_lora_fields, not_zero_for_zero

Part = Literal["llm", "encoder"]


@dataclass(frozen=True)
class StepOptions:
    """How the joint step runs. None of these changes what is learnt; each is a key of the ``model`` section.

    Attributes:
        row_tokens: Positions a packed row aims for; 0 makes one row. Flash attention always takes one row.
        attn_implementation: ``auto`` takes FlashAttention where its package is installed, else PyTorch's SDPA,
            or ``eager`` for LLMs whose attention logits are capped (Gemma 2), which SDPA cannot do.
        loss_backend: ``chunked`` is plain PyTorch; the others need their package and a GPU.
        loss_chunk: Supervised positions whose logits exist at a time.
        activation_checkpointing: Parts whose layers keep only their input for the backward pass.
        compile: Parts whose layers go through ``torch.compile``.
        encoder_batch_seconds: Most padded seconds of audio in one call of the speech encoder.
        encoder_cache: Whether frames of a frozen encoder are kept after a clip was first heard; a folder keeps them in
            files for later runs.
        llm_dtype: Of the LLM's weights as loaded; what trains is float32 all the same.
        skip_non_finite: Optimizer steps that may be left out for a non-finite loss or gradient before training stops.
    """

    row_tokens: int = 512
    attn_implementation: Literal[
        "auto", "sdpa", "eager", "flex_attention", "flash_attention_2", "flash_attention_3"
    ] = "auto"
    loss_backend: Literal["chunked", "cut_cross_entropy", "liger"] = "chunked"
    loss_chunk: int = 1024
    activation_checkpointing: tuple[Part, ...] = ()
    compile: tuple[Part, ...] = ()
    encoder_batch_seconds: float = 600.0
    encoder_cache: bool | str = False
    llm_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    skip_non_finite: int = 0


@dataclass(frozen=True)
class RetentionOptions:
    """The section ``model.retention``: how much of the untouched LLM's text training may cost.

    Attributes:
        text: Suites by name, as under ``eval.text``; those of type ``likelihood`` give the divergence.
        max_text_drop: Points of 100 that a suite may lose.
        every: Validations from one measurement to the next, between which the last numbers stand.
        patience: Measurements in a row past the limit at which training stops.
        past_limit: What happens then.
    """

    text: Mapping[str, Mapping[str, Any]]
    max_text_drop: float
    every: int = 1
    patience: int = 1
    past_limit: Literal["stop", "warn"] = "stop"


_AT_LEAST = {
    "model.row_tokens": 0,
    "model.loss_chunk": 1,
    "model.encoder_batch_seconds": 0.1,
    "model.skip_non_finite": 0,
    "model.retention.max_text_drop": 0,
    "model.retention.every": 1,
    "model.retention.patience": 1,
}
MODEL_KEYS = frozenset(
    # SALM's own
    "pretrained_llm pretrained_asr pretrained_weights tokenizer_path trust_remote_code freeze_params "
    "prevent_freeze_params prompt_format audio_locator_tag perception lora optimizer lr_scheduler "
    "encoder_chunk_size_seconds pretrained_s2s_model pretrained_perception_from_s2s use_nemo_automodel "
    "torch_dtype dtype model_type architectures init_configure_model "
    # ours
    "llm_config encoder_config lr_scale alignment encoder_lora quantization text_lora text_kl retention "
    "init_from".split()
) | {field.name for field in fields(StepOptions)}
# Whether LoRA takes part in answers to conversations without audio.
TEXT_LORA = ("always", "audio_gated")
REQUIRED_MODEL_KEYS = ("pretrained_llm", "prompt_format", "audio_locator_tag", "perception", "optimizer")


def check_model_section(section: Mapping[str, Any]) -> None:
    """Refuses a ``model`` section with unknown or missing keys.

    Raises:
        VTBError: Names the key.
    """
    check_keys(section, MODEL_KEYS, "model")
    for key in REQUIRED_MODEL_KEYS:
        if section.get(key) is None or section.get(key) == "???":
            raise VTBError(f"missing config key model.{key}")
    if section.get("text_lora", "always") not in TEXT_LORA:
        raise VTBError(f"model.text_lora must be one of {', '.join(TEXT_LORA)}, not '{section['text_lora']}'")
    if section.get("text_kl") and section.get("lora") is None:
        raise VTBError("model.text_kl needs an untouched LLM beside the trained one: choose LoRA, e.g. lora=r32")
    _check_lora(section)
    check_quantization(section)
    if section.get("retention") is not None:
        retention_options(section["retention"])
    if section.get("use_nemo_automodel"):
        raise VTBError("model.use_nemo_automodel=true is not supported: VoiceTextBlender runs the Hugging Face LLM")


def _check_lora(section: Mapping[str, Any]) -> None:
    """What can be refused of the sections ``lora`` and ``encoder_lora`` before anything is loaded."""
    if section.get("lora") is not None:
        settings = check_lora_fields(section["lora"])
        if section.get("text_lora") == "audio_gated" and (ungated := not_zero_for_zero(settings)):
            raise VTBError(f"model.text_lora=audio_gated cannot be used with model.lora.{ungated[0]}")
    if section.get("encoder_lora") is not None:
        check_lora_fields(section["encoder_lora"], "model.encoder_lora")
        if section.get("encoder_cache"):
            raise VTBError("model.encoder_cache=true needs a frozen encoder, which model.encoder_lora trains")


def step_options(section: Mapping[str, Any]) -> StepOptions:
    """Reads the typed options out of a ``model`` section; a key that is missing or null has its default.

    Raises:
        VTBError: Names the key, what it holds and what it may hold.
    """
    return StepOptions(**_typed_section(section, StepOptions, "model"))


def retention_options(section: Mapping[str, Any]) -> RetentionOptions:
    """Reads ``model.retention``.

    Raises:
        VTBError: Names the key that is unknown, missing or odd.
    """
    check_keys(section, [field.name for field in fields(RetentionOptions)], "model.retention")
    for key in ("text", "max_text_drop"):
        if section.get(key) is None:
            raise VTBError(f"missing config key model.retention.{key}")
    return RetentionOptions(**_typed_section(section, RetentionOptions, "model.retention"))


def _typed_section(section: Mapping[str, Any], options: type, where: str) -> dict[str, Any]:
    hints = get_type_hints(options)
    given = {name: section[name] for name in hints if section.get(name) is not None}
    return {name: _typed(f"{where}.{name}", value, hints[name]) for name, value in given.items()}


def _typed(where: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise VTBError(f"{where} is {value!r}; it may be {', '.join(get_args(hint))}")
        return value
    if get_origin(hint) is tuple:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise VTBError(f"{where} is {value!r}; it is a list of {', '.join(get_args(get_args(hint)[0]))}")
        return tuple(_typed(where, item, get_args(hint)[0]) for item in value)
    if get_origin(hint) is Mapping:
        if not isinstance(value, Mapping) or not all(isinstance(part, Mapping) for part in value.values()):
            raise VTBError(f"{where} is {value!r}; it is a section of named sections")
        return value
    if get_origin(hint) is UnionType:
        hint = type(value) if type(value) in get_args(hint) else get_args(hint)[0]
    right = isinstance(value, bool) if hint is bool else isinstance(value, int | hint) and not isinstance(value, bool)
    least = _AT_LEAST.get(where)
    if not right or (least is not None and value < least):
        bound = "" if least is None else f" of at least {least}"
        raise VTBError(f"{where} is {value!r}; it is {hint.__name__}{bound}")
    return hint(value)
