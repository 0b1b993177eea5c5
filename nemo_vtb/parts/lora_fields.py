"""Fields of ``peft.LoraConfig`` that a section may set: each does what PEFT says, or is refused in one sentence.

What is not listed here is refused as soon as it differs from PEFT's default, so that a field of a later PEFT, or one
that only its own scripts act on, never does nothing in silence.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from nemo_vtb.errors import VTBError

# Weights that these take out of the LLM's matrices are given back by a second, frozen adapter.
SHIFTED = ("pissa", "olora")
EMBEDDINGS = "embed_tokens"
HEAD = "lm_head"

REFUSED = {
    "inference_mode": "true freezes LoRA, and nothing would be learnt",
    "trainable_token_indices": "is not supported: the embeddings stand outside of the LLM and are frozen or "
    "trained whole (model.freeze_params)",
    "layer_replication": "is not supported: it makes another LLM, of which nothing untouched would be left",
    "alora_invocation_tokens": "is not supported: LoRA would wait for token ids, of which a packed row has none",
    "loftq_config": "belongs to LoftQ, which is not supported",
    "eva_config": "belongs to EVA, which is not supported",
    "corda_config": "belongs to CorDA, which is not supported",
    "arrow_config": "is not supported: it routes among adapters that were trained before",
    "use_qalora": "is not supported: PEFT has it for GPTQ only",
    "qalora_group_size": "is not supported: PEFT has it for GPTQ only",
    "megatron_config": "is PEFT's for Megatron's own layers; the LLM is Hugging Face's",
    "megatron_core": "is PEFT's for Megatron's own layers; the LLM is Hugging Face's",
    "runtime_config": "is not supported",
    "ensure_weight_tying": "is not supported: tied heads and embeddings cannot be adapted here",
    "base_model_name_or_path": "is what PEFT writes; the LLM is named by model.pretrained_llm",
}
_WANTS_DATA = {
    "eva": "the LLM's activations over data before the first step",
    "corda": "the LLM's activations over data before the first step",
    "loftq": "an LLM that it quantises itself; use model.quantization with init_lora_weights: true",
}
_INITIALISATIONS = "true, false, gaussian, orthogonal, pissa, pissa_niter_[number] or olora"


def _is_rank(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value)


def _is_pattern(value: Any) -> bool:
    return (isinstance(value, str) and bool(value) and _is_expression(value)) or _is_names(value)


def _is_expression(value: str) -> bool:
    try:
        re.compile(value)
    except re.error:
        return False
    return True


def _is_layers(value: Any) -> bool:
    listed = value if isinstance(value, list | tuple) else [value]
    return bool(listed) and all(isinstance(at, int) and not isinstance(at, bool) and at >= 0 for at in listed)


def _of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    def every(value: Any) -> bool:
        return isinstance(value, Mapping) and all(
            isinstance(k, str) and _is_expression(k) and check(v) for k, v in value.items()
        )

    return every


def _is_initialisation(value: Any) -> bool:
    if isinstance(value, bool):
        return True
    return isinstance(value, str) and bool(re.fullmatch(r"gaussian|orthogonal|olora|pissa(_niter_\d+)?", value))


SERVED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "task_type": (lambda value: value == "CAUSAL_LM", "CAUSAL_LM"),
    "peft_type": (lambda value: value == "LORA", "LORA"),
    "r": (_is_rank, "a positive integer"),
    "lora_alpha": (_is_number, "a number above 0"),
    "lora_dropout": (_is_share, "a number of at least 0 and below 1"),
    "target_modules": (_is_pattern, "auto, all-linear, a list of module names or a regular expression"),
    "exclude_modules": (_is_pattern, "a list of module names or a regular expression"),
    "fan_in_fan_out": (_is_flag, "true or false"),
    "bias": (lambda value: value in ("none", "all", "lora_only"), "none, all or lora_only"),
    "use_rslora": (_is_flag, "true or false"),
    "use_dora": (_is_flag, "true or false"),
    "lora_bias": (_is_flag, "true or false"),
    "modules_to_save": (_is_names, "a list of module names"),
    "init_lora_weights": (_is_initialisation, _INITIALISATIONS),
    "layers_to_transform": (_is_layers, "a layer's number or a list of them"),
    "layers_pattern": (_is_pattern, "the name of the list of layers"),
    "rank_pattern": (_of(_is_rank), "module names or regular expressions with a positive integer each"),
    "alpha_pattern": (_of(_is_number), "module names or regular expressions with a number above 0 each"),
    "target_parameters": (_is_names, "a list of parameter names"),
}
# Of the LLM alone: no folder of PEFT is written of a speech encoder, whose LoRA every export merges, which PEFT cannot
# with a bias where the layer has none.
_LLM_ONLY = ("bias", "modules_to_save", "target_parameters", "lora_bias")


def check_lora_fields(section: Any, where: str = "model.lora") -> dict[str, Any]:
    """Checks what can be known of a section without the model it is for.

    Args:
        section: The section as plain values.
        where: Its key, for messages; ``model.encoder_lora`` refuses what only makes sense for an LLM.

    Returns:
        The fields that are set, without nulls.

    Raises:
        VTBError: Names the key, what it holds and what it may hold.
    """
    from peft import LoraConfig

    if not isinstance(section, Mapping):
        raise VTBError(f"{where} is {section!r}; it is a section with fields of peft.LoraConfig, e.g. r: 32")
    known = {field.name: field for field in fields(LoraConfig)}
    if unknown := sorted(str(key) for key in set(section) - set(known)):
        raise VTBError(f"{where} has unknown keys {', '.join(unknown)}; they are fields of peft.LoraConfig")
    given = {key: value for key, value in section.items() if value is not None}
    for key, value in given.items():
        if key == "peft_version":
            continue
        if key in SERVED:
            _check_served(f"{where}.{key}", key, value)
        elif value not in (_default(known[key]), {}, [], False):
            raise VTBError(f"{where}.{key} {REFUSED.get(key, 'is not supported: nemo_vtb does not act on it')}")
    kept = {key: value for key, value in given.items() if key in SERVED and key != "peft_type"}
    for_llm = [key for key in _LLM_ONLY if kept.get(key) not in (None, "none", [])]
    if for_llm and where != "model.lora":
        raise VTBError(f"{where}.{for_llm[0]} is not supported: it is a field of model.lora")
    _check_together(kept, where)
    return kept


def is_shifted(settings: Mapping[str, Any]) -> bool:
    """Whether the initialisation moves part of the LLM's weights into LoRA (PiSSA, OLoRA)."""
    return str(settings.get("init_lora_weights", True)).startswith(SHIFTED)


def is_named(name: str, wanted: Any) -> bool:
    """Whether a setting names a module or parameter, as PEFT reads it: a regular expression, or ends of names."""
    if isinstance(wanted, str):
        return re.fullmatch(wanted, name) is not None
    return any(name == one or name.endswith(f".{one}") for one in wanted or ())


def not_zero_for_zero(settings: Mapping[str, Any]) -> list[str]:
    """The settings of a section under which a gate on the down-projections would not leave the untouched LLM."""
    settings = {key: value for key, value in settings.items() if value is not None}
    found = [key for key in ("use_dora", "lora_bias", "modules_to_save", "target_parameters") if settings.get(key)]
    return [*found, *(["bias"] if settings.get("bias", "none") != "none" else [])]


def _check_served(where: str, key: str, value: Any) -> None:
    check, allowed = SERVED[key]
    if key == "init_lora_weights" and isinstance(value, str) and value.split("_")[0] in _WANTS_DATA:
        raise VTBError(f"{where}={value} is not supported: it wants {_WANTS_DATA[value.split('_')[0]]}")
    if not check(value):
        raise VTBError(f"{where} is {value!r}; it must be {allowed}")


def _default(field: Any) -> Any:
    return (
        field.default_factory() if field.default is MISSING and field.default_factory is not MISSING else field.default
    )


def _check_together(settings: Mapping[str, Any], where: str) -> None:
    """Refuses pairs of settings that PEFT refuses deep inside, or that together would do something else."""
    initial = settings.get("init_lora_weights", True)
    targets = settings.get("target_modules", "auto")
    if settings.get("lora_bias") and (settings.get("use_dora") or not isinstance(initial, bool)):
        raise VTBError(f"{where}.lora_bias=true needs use_dora=false and init_lora_weights true or false")
    if is_shifted(settings) and settings.get("use_dora"):
        raise VTBError(f"{where}.init_lora_weights={initial} cannot be used with use_dora: choose one of them")
    ranks = [settings.get("r", 2), *settings.get("rank_pattern", {}).values()]
    if initial == "orthogonal" and any(rank % 2 for rank in ranks):
        raise VTBError(f"{where}.init_lora_weights=orthogonal needs an even rank everywhere")
    if "layers_to_transform" in settings and isinstance(targets, str) and targets != "auto":
        raise VTBError(f"{where}.layers_to_transform needs target_modules as a list, e.g. [q_proj, v_proj], or auto")
    if "layers_pattern" in settings and "layers_to_transform" not in settings:
        raise VTBError(f"{where}.layers_pattern says nothing without layers_to_transform")
    if settings.get("target_parameters"):
        mixed = [key for key in ("use_dora", "lora_bias", "lora_dropout") if settings.get(key)]
        if mixed or is_shifted(settings) or initial == "orthogonal":
            other = mixed[0] if mixed else f"init_lora_weights={initial}"
            raise VTBError(f"{where}.target_parameters cannot be used with {other}: PEFT has it for linear layers only")
    for key in ("target_modules", "modules_to_save"):
        if any(str(name).rpartition(".")[2] == EMBEDDINGS for name in _names(settings.get(key))):
            raise VTBError(
                f"{where}.{key}: the embeddings cannot be adapted, as they stand outside of the LLM, where NeMo's SALM "
                f"has them; leave {EMBEDDINGS} out, or train them whole by leaving them out of model.freeze_params"
            )


def _names(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]
