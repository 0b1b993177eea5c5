"""The section ``model``: its keys, which of them must be there, and the typed options of step and retention."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.modules.quantized import check_quantization
from nemo_vtb.options import Count, Range, plain, read_options, typed
from nemo_vtb.parts.lora_fields import check_lora_fields, not_zero_for_zero
from nemo_vtb.targets import check_targets

Part = Literal["llm", "encoder"]


@dataclass(frozen=True)
class StepOptions:
    """How the joint step runs. None of these changes what is learnt; each is a key of the ``model`` section.

    Attributes:
        row_tokens: Positions a packed row aims for; 0 makes one row. Flash attention always takes one row.
        attn_implementation: ``auto`` takes FlashAttention where GPU, precision and its package allow it, else PyTorch's
            SDPA, or ``eager`` for LLMs whose attention logits are capped (Gemma 2), which SDPA cannot do.
        loss_backend: ``chunked`` is plain PyTorch; the others need their package and a GPU.
        loss_chunk: Supervised positions whose logits exist at a time.
        activation_checkpointing: Parts whose layers keep only their input for the backward pass.
        compile: Parts whose layers go through ``torch.compile``.
        encoder_batch_seconds: Most padded seconds of audio in one call of the speech encoder.
        encoder_cache: Whether frames of a frozen encoder are kept after a clip was first heard; a folder keeps them in
            files for later runs.
        llm_dtype: Of the LLM's weights as loaded; what trains is float32 all the same. ``auto`` follows the precision
            of the arithmetic: bfloat16 where that is half precision, else float32.
        prove: Whether what packing, loss and gate rely on is tried out on the LLM; see ``nemo_vtb.modules.proof``.
        skip_non_finite: Optimizer steps that may be left out for a non-finite loss or gradient before training stops.
    """

    row_tokens: Annotated[int, Range(0)] = 512
    attn_implementation: Literal[
        "auto", "sdpa", "eager", "flex_attention", "flash_attention_2", "flash_attention_3"
    ] = "auto"
    loss_backend: Literal["chunked", "cut_cross_entropy", "liger"] = "chunked"
    loss_chunk: Count = 1024
    activation_checkpointing: tuple[Part, ...] = ()
    compile: tuple[Part, ...] = ()
    encoder_batch_seconds: Annotated[float, Range(0.1)] = 600.0
    encoder_cache: bool | str = False
    llm_dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    skip_non_finite: Annotated[int, Range(0)] = 0
    prove: bool = True


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
    max_text_drop: Annotated[float, Range(0)]
    every: Count = 1
    patience: Count = 1
    past_limit: Literal["stop", "warn"] = "stop"


# SALM's keys and ours that are no options of the step; what stands in a section is checked by who builds from it.
_OTHER_HINTS: dict[str, Any] = {
    "pretrained_llm": str,
    "pretrained_asr": str | None,
    "pretrained_weights": bool,
    "tokenizer_path": str | None,
    "trust_remote_code": bool,
    "freeze_params": list[str],
    "prevent_freeze_params": list[str],
    "prompt_format": str,
    "audio_locator_tag": str,
    "perception": dict[str, Any],
    "lora": dict[str, Any] | None,
    "encoder_lora": dict[str, Any] | None,
    "encoder_config": dict[str, Any] | None,
    "init_from": str | None,
    "optimizer": dict[str, Any],
    "lr_scheduler": dict[str, Any] | None,
    "llm_config": dict[str, Any] | None,
    "lr_scale": dict[str, Annotated[float, Range(0)]] | None,
    "alignment": dict[str, Any] | None,
    "text_kl": Annotated[float, Range(0)] | None,
    "spoken_kl": Annotated[float, Range(0)] | None,
    "encoder_chunk_size_seconds": Annotated[float, Range(0, above=True)] | None,
}
MODEL_KEYS = frozenset(
    # SALM's own
    "pretrained_llm pretrained_asr pretrained_weights tokenizer_path trust_remote_code freeze_params "
    "prevent_freeze_params prompt_format audio_locator_tag perception lora optimizer lr_scheduler "
    "encoder_chunk_size_seconds pretrained_s2s_model pretrained_perception_from_s2s use_nemo_automodel "
    "torch_dtype dtype model_type architectures init_configure_model "
    # ours
    "llm_config encoder_config lr_scale alignment encoder_lora quantization text_lora text_kl spoken_kl thinking "
    "retention init_from".split()
) | {field.name for field in fields(StepOptions)}
# Whether LoRA takes part in answers to conversations without audio.
TEXT_LORA = ("always", "audio_gated")
# Whether the LLM's chat template has it think before it answers; auto: not, where it has a switch.
THINKING = ("auto", "off", "on")
REQUIRED_MODEL_KEYS = ("pretrained_llm", "audio_locator_tag", "perception", "optimizer")


def check_model_section(section: Mapping[str, Any]) -> None:
    """Refuses a ``model`` section with unknown or missing keys.

    Raises:
        VTBError: Names the key.
    """
    check_keys(section, MODEL_KEYS, "model")
    section = plain(section)
    for key in REQUIRED_MODEL_KEYS:
        if section.get(key) is None or section.get(key) == "???":
            raise VTBError(f"missing config key model.{key}")
    for key, hint in _OTHER_HINTS.items():
        if section.get(key) is not None:
            typed(f"model.{key}", section[key], hint)
    for key in ("perception", "optimizer", "lr_scheduler"):
        check_targets(section.get(key), f"model.{key}")
    if section.get("text_lora", "always") not in TEXT_LORA:
        raise VTBError(f"model.text_lora must be one of {', '.join(TEXT_LORA)}, not '{section['text_lora']}'")
    if section.get("thinking") is not None and section["thinking"] not in THINKING:
        # YAML reads off and on as booleans.
        raise VTBError(f"model.thinking must be one of {', '.join(THINKING)}, not {section['thinking']!r}")
    for key in ("text_kl", "spoken_kl"):
        if section.get(key) and section.get("lora") is None:
            raise VTBError(f"model.{key} needs an untouched LLM beside the trained one: choose LoRA, e.g. lora=r32")
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
    return read_options(StepOptions, section, "model", MODEL_KEYS, nulls=True)


def retention_options(section: Mapping[str, Any]) -> RetentionOptions:
    """Reads ``model.retention``.

    Raises:
        VTBError: Names the key that is unknown, missing or odd.
    """
    return read_options(RetentionOptions, section, "model.retention", nulls=True)
