"""What ``target_modules: all-linear`` means in an LLM whose layers are not all plain linear ones."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from nemo_vtb.modules.llm.parts import family

# What PEFT cannot do beside parameters that are no linear layers.
_NOT_WITH_EXPERTS = ("use_dora", "lora_bias", "lora_dropout")


def widen_all_linear(llm: Any, settings: Mapping[str, Any], gated: bool) -> tuple[dict[str, Any], list[str]]:
    """Leaves out of ``all-linear`` what LoRA cannot adapt and takes in the experts, which are no linear layers.

    Left out are routers, whose class is a linear layer that returns more than a product, and the output projection of
    Mamba layers, whose fused kernels read its weight past LoRA. The experts of a mixture are parameters of three
    dimensions, which PEFT adapts as ``target_parameters``.

    Args:
        llm: Without LoRA.
        settings: Arguments for ``peft.LoraConfig``.
        gated: Whether LoRA is switched per position, which parameters cannot be.

    Returns:
        The settings, and what is to be told.
    """
    settings = dict(settings)
    if str(settings.get("target_modules")).lower() != "all-linear":
        return settings, []
    told = []
    left_out = sorted(name for name, module in llm.named_modules() if _is_no_plain_linear(llm, name, module))
    if left_out and "exclude_modules" not in settings:
        settings["exclude_modules"] = left_out
        told.append(f"left out: {_shown(left_out)}, which LoRA cannot adapt")
    experts = sorted({_tail(name) for name, p in llm.named_parameters() if p.dim() == 3 and "experts" in name})
    if experts and settings.get("target_parameters") is None:
        if gated or any(settings.get(key) for key in _NOT_WITH_EXPERTS):
            why = "model.text_lora=audio_gated" if gated else next(k for k in _NOT_WITH_EXPERTS if settings.get(k))
            told.append(f"left out: the experts ({', '.join(experts)}), which cannot be adapted with {why}")
        else:
            settings["target_parameters"] = experts
            told.append(f"taken in: the experts, as target_parameters ({', '.join(experts)})")
    return settings, [f"model.lora.target_modules=all-linear in {family(llm)}: {what}" for what in told]


def _is_no_plain_linear(llm: Any, name: str, module: nn.Module) -> bool:
    if isinstance(module, nn.Linear) and type(module).forward is not nn.Linear.forward:
        return True
    path, _, own = name.rpartition(".")
    if own != "out_proj":
        return False
    mixer = llm.get_submodule(path)
    return hasattr(mixer, "conv1d") and hasattr(mixer, "D")


def _tail(name: str) -> str:
    """A parameter's name from its block on, as it is in every layer."""
    parts = name.split(".")
    last_number = max(index for index, part in enumerate(parts) if part.isdigit())
    return ".".join(parts[last_number + 1 :])


def _shown(names: list[str]) -> str:
    kinds = sorted({_tail(name) if any(part.isdigit() for part in name.split(".")) else name for name in names})
    return ", ".join(kinds)
