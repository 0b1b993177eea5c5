"""LoRA settings: validated, with the target modules of each LLM family (DESIGN: the ``lora`` config group)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.lora_fields import check_lora_fields, is_named, is_shifted

if TYPE_CHECKING:
    from torch import Tensor, dtype, nn

_ATTENTION_AND_MLP = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# The paper adapts attention_qkv, attention_dense, mlp_fc1 and mlp_fc2: attention and MLP, in each family's names.
TARGETS_BY_FAMILY = {
    **dict.fromkeys(
        ("llama", "gemma", "gemma2", "gemma3_text", "qwen2", "qwen3", "mistral", "smollm3"), _ATTENTION_AND_MLP
    ),
    "phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
    "gpt_neox": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
}


# What is trained where a section ``lora`` names no rank.
DEFAULT_RANK = 32
# What gives LoRA's weights their shape or their meaning, with the default of each.
_MEANING = {"r": DEFAULT_RANK, "lora_alpha": 8, "use_rslora": False, "rank_pattern": None, "alpha_pattern": None}


def lora_settings(settings: Mapping[str, Any], model_type: str, module_names: list[str]) -> dict[str, Any]:
    """Checks a ``lora`` section and fills in what follows from the LLM.

    Args:
        settings: Fields of ``peft.LoraConfig``; ``target_modules: auto`` takes the family's attention and MLP.
        model_type: ``config.model_type`` of the LLM.
        module_names: Names of the LLM's modules.

    Returns:
        Arguments for ``peft.LoraConfig``.

    Raises:
        VTBError: On an unknown key, an impossible rank, or targets the LLM does not have.
    """
    settings = check_lora_fields(settings)
    rank = settings.get("r", DEFAULT_RANK)
    targets = settings.get("target_modules", "auto")
    if targets == "auto":
        if model_type not in TARGETS_BY_FAMILY:
            raise VTBError(
                f"model.lora.target_modules=auto does not know the LLM family '{model_type}' (it knows "
                f"{', '.join(TARGETS_BY_FAMILY)}); list the modules, e.g. [q_proj, v_proj]"
            )
        targets = list(TARGETS_BY_FAMILY[model_type])
    if isinstance(targets, list | tuple):
        missing = [t for t in targets if not any(is_named(name, [t]) for name in module_names)]
        if missing:
            raise VTBError(f"model.lora.target_modules: the LLM has no module named {', '.join(missing)}")
        targets = list(targets)
    return {"task_type": "CAUSAL_LM", "lora_dropout": 0.0, **settings, "r": rank, "target_modules": targets}


def check_same_lora(
    theirs: Mapping[str, Any] | None, ours: Mapping[str, Any] | None, where: str = "model.lora"
) -> None:
    """Refuses LoRA weights of another rank or scale than the config has, or of a beginning that it does not know.

    Args:
        theirs: Section ``lora`` of a checkpoint.
        ours: Of the config.
        where: Its key.

    Raises:
        VTBError: Names the key and both values.
    """
    if theirs is None or ours is None:
        return
    for key, default in _MEANING.items():
        was, now = (section.get(key, default) or None for section in (theirs, ours))
        if was != now:
            raise VTBError(
                f"{where}.{key} is {now}, the checkpoint was trained with {was}, and its weights would mean another "
                f"thing: set {where}.{key} to {was}"
            )
    if is_shifted(theirs) != is_shifted(ours):
        was = theirs.get("init_lora_weights", True)
        raise VTBError(
            f"{where}.init_lora_weights is {ours.get('init_lora_weights', True)}, the checkpoint was trained from "
            f"{was}, against which its weights count: set it to {was}"
        )


def leave_casts_to_autocast(module: "nn.Module") -> None:
    """Keeps PEFT, under autocast, from widening every LoRA input to float32 only for it to be narrowed again.

    Unlike ``peft.helpers.disable_input_dtype_casting`` it asks at every call, so that activation checkpointing, which
    runs layers again in the backward pass, does the same there.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for part in module.modules():
        if isinstance(part, BaseTunerLayer):
            part._cast_input_dtype = _cast_without_autocast


def _cast_without_autocast(x: "Tensor | None", dtype: "dtype") -> "Tensor | None":
    import torch

    return x if x is None or torch.is_autocast_enabled(x.device.type) else x.to(dtype)
