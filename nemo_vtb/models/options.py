"""The section ``model``: its keys, which of them must be there, and the typed options of step and retention."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_args, get_type_hints

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.modules.quantized import check_quantization
from nemo_vtb.options import Count, Range, is_required, plain, read_options, typed
from nemo_vtb.parts.lora_fields import check_lora_fields, not_zero_for_zero
from nemo_vtb.targets import check_targets

Part = Literal["llm", "encoder"]


@dataclass(frozen=True)
class StepOptions:
    """How the joint step runs. None of these changes what is learnt; each is a key of the ``model`` section.

    Attributes:
        row_tokens: The most positions that a packed row aims for; 0 makes one row. Flash attention always has one.
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
        llm_backend: ``hf`` runs the LLM as Transformers has it, ``megatron`` on megatron-core; see
            ``nemo_vtb.modules.megatron``.
        tensor_model_parallel_size: Ranks over which ``megatron`` cuts the LLM.
        sequence_parallel: Whether ``megatron`` also cuts what lies between the matrices, each row over those ranks.
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
    llm_backend: Literal["hf", "megatron"] = "hf"
    tensor_model_parallel_size: Count = 1
    sequence_parallel: bool = False
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


@dataclass(frozen=True)
class ModelSection:
    """The other keys of the section ``model``; what stands in their sections is checked by who builds from it.

    Attributes:
        pretrained_llm: The LLM: a packaged asset, a folder or a hub id.
        audio_locator_tag: The token that stands for a clip.
        perception: Speech encoder and adapter: ``preprocessor``, ``encoder``, ``modality_adapter``, ``spec_augment``.
        optimizer: ``_target_``, ``lr`` and arguments of one of PyTorch's or NeMo's.
        lr_scheduler: ``_target_`` and arguments of one of PyTorch's or NeMo's; null keeps the learning rate.
        pretrained_asr: The speech encoder, by the same names as the LLM.
        pretrained_weights: False builds the same shapes with random weights.
        tokenizer_path: The tokenizer, where it is not the LLM's.
        trust_remote_code: Whether code that comes with the LLM may run.
        freeze_params: Patterns of parameter names that do not train.
        prevent_freeze_params: Patterns of parameter names that train all the same.
        prompt_format: NeMo's name of a format; ``auto`` writes the LLM's own chat template.
        thinking: Whether the chat template has the LLM think before it answers; ``auto``: not, where it has a switch.
        lora: LoRA on the LLM: fields of ``peft.LoraConfig``; null trains none.
        encoder_lora: LoRA on the speech encoder, likewise.
        text_lora: Whether LoRA takes part in answers to conversations without audio.
        text_kl: Factor of the divergence from the untouched LLM on turns of text; needs LoRA.
        spoken_kl: Factor of the divergence of answers to speech from the untouched LLM's to its words; needs LoRA.
        quantization: A frozen LLM in 4 or 8 bits: ``bnb_4bit``, ``bnb_8bit``, ``torchao_int8`` or a section.
        alignment: CTC of the adapter's frames against the LLM's embeddings of the transcript.
        lr_scale: Factor of the learning rate by pattern of parameter names.
        retention: How much of the untouched LLM's text training may cost.
        init_from: A checkpoint whose trained weights a new run begins with.
        encoder_chunk_size_seconds: Longer clips go through the encoder in chunks of this length.
        llm_config: Fields of the LLM's Hugging Face config, for shapes without weights.
        encoder_config: Fields of the speech encoder's config, likewise.
        use_nemo_automodel: SALM's; true is refused.
        pretrained_s2s_model: SALM's; not read.
        pretrained_perception_from_s2s: SALM's; not read.
        torch_dtype: SALM's; not read, ``llm_dtype`` is.
        dtype: Of an exported config; not read.
        model_type: Of an exported config; not read.
        architectures: Of an exported config; not read.
        init_configure_model: Of an exported config; not read.
    """

    pretrained_llm: str
    audio_locator_tag: str
    perception: dict[str, Any]
    optimizer: dict[str, Any]
    lr_scheduler: dict[str, Any] | None = None
    pretrained_asr: str | None = None
    pretrained_weights: bool = True
    tokenizer_path: str | None = None
    trust_remote_code: bool = False
    freeze_params: list[str] = field(default_factory=list)
    prevent_freeze_params: list[str] = field(default_factory=list)
    prompt_format: str = "auto"
    thinking: Literal["auto", "off", "on"] = "auto"
    lora: dict[str, Any] | None = None
    encoder_lora: dict[str, Any] | None = None
    text_lora: Literal["always", "audio_gated"] = "always"
    text_kl: Annotated[float, Range(0)] | None = None
    spoken_kl: Annotated[float, Range(0)] | None = None
    quantization: str | dict[str, Any] | None = None
    alignment: dict[str, Any] | None = None
    lr_scale: dict[str, Annotated[float, Range(0)]] | None = None
    retention: dict[str, Any] | None = None
    init_from: str | None = None
    encoder_chunk_size_seconds: Annotated[float, Range(0, above=True)] | None = None
    llm_config: dict[str, Any] | None = None
    encoder_config: dict[str, Any] | None = None
    use_nemo_automodel: Any = False
    pretrained_s2s_model: Any = None
    pretrained_perception_from_s2s: Any = None
    torch_dtype: Any = None
    dtype: Any = None
    model_type: Any = None
    architectures: Any = None
    init_configure_model: Any = None


_HINTS = get_type_hints(ModelSection, include_extras=True)
MODEL_KEYS = frozenset(one.name for options in (ModelSection, StepOptions) for one in fields(options))
# Megatron's other ways to cut a model.
_NOT_CUT_SO = {
    "pipeline_model_parallel_size": "the LLM is not cut into stages (pipeline parallelism)",
    "context_parallel_size": "rows are not cut for attention (context parallelism)",
    "expert_model_parallel_size": "experts are not spread over ranks",
}
# Whether LoRA takes part in answers to conversations without audio.
TEXT_LORA = get_args(_HINTS["text_lora"])
REQUIRED_MODEL_KEYS = [one.name for one in fields(ModelSection) if is_required(one)]


def check_model_section(section: Mapping[str, Any]) -> None:
    """Refuses a ``model`` section with unknown or missing keys.

    Raises:
        VTBError: Names the key.
    """
    for key, why in _NOT_CUT_SO.items():
        if key in section:
            raise VTBError(
                f"model.{key}={section[key]}: {why}; model.tensor_model_parallel_size with model.llm_backend=megatron "
                "cuts the LLM's matrices, and trainer.strategy=vtb_fsdp2 shards any LLM"
            )
    check_keys(section, MODEL_KEYS, "model")
    section = plain(section)
    for key in REQUIRED_MODEL_KEYS:
        if section.get(key) in (None, "", "???"):
            raise VTBError(f"missing config key model.{key}")
    for key, hint in _HINTS.items():
        if section.get(key) is not None:
            typed(f"model.{key}", section[key], hint)
    for key in ("perception", "optimizer", "lr_scheduler"):
        check_targets(section.get(key), f"model.{key}")
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
