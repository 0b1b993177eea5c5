"""What ``target_modules: all-linear`` means in an LLM whose layers are not all plain linear ones."""

import inspect
import re
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import nn

from nemo_vtb.modules.llm.parts import body_of, family

# What PEFT cannot do beside parameters that are no linear layers.
_NOT_WITH_EXPERTS = ("use_dora", "lora_bias", "lora_dropout")


def widen_all_linear(llm: Any, settings: Mapping[str, Any], gated: bool) -> tuple[dict[str, Any], list[str]]:
    """Leaves out of ``all-linear`` what LoRA cannot adapt and takes in the experts, which are no linear layers.

    Left out are routers, whose class is a linear layer that returns more than a product, and layers whose weight is
    read past them, as Mamba's fused kernels do: LoRA would train in silence for nothing. The experts of a mixture are
    parameters of three dimensions, which PEFT adapts as ``target_parameters``.

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
    left_out = _beyond_lora(llm)
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


def _beyond_lora(llm: Any) -> list[str]:
    """Names of linear layers that LoRA cannot adapt, or whose LoRA nobody would look at."""
    body = body_of(llm)
    within = {id(module) for module in body.modules()}
    head = llm.get_output_embeddings()
    found = []
    for name, module in llm.named_modules():
        if not isinstance(module, nn.Linear) or module is head:
            continue
        path, _, own = name.rpartition(".")
        if id(module) not in within or _returns_more(module) or _is_read_past(llm.get_submodule(path), own):
            found.append(name)
    return sorted(found)


def _returns_more(linear: nn.Linear) -> bool:
    if type(linear).forward is nn.Linear.forward:
        return False
    try:
        with torch.no_grad():
            returned = linear(linear.weight.new_zeros(1, linear.in_features))
    except Exception:  # it wants something else than a linear layer does
        return True
    return not (isinstance(returned, torch.Tensor) and returned.shape == (1, linear.out_features))


def _is_read_past(owner: nn.Module, name: str) -> bool:
    """Whether the code of a module takes a linear layer's weight instead of calling the layer."""
    return (
        re.search(
            rf"self\.{name}\.weight(?!\w|\.(dtype|device|shape))",
            _source(str(owner.__class__.__module__), owner.__class__.__qualname__),
        )
        is not None
    )


@cache
def _source(module: str, name: str) -> str:
    try:
        return inspect.getsource(getattr(sys.modules[module], name))
    except (AttributeError, OSError, TypeError):
        return ""


def _tail(name: str) -> str:
    """A parameter's name from its block on, as it is in every layer."""
    parts = name.split(".")
    last_number = max(index for index, part in enumerate(parts) if part.isdigit())
    return ".".join(parts[last_number + 1 :])


def _shown(names: list[str]) -> str:
    kinds = sorted({_tail(name) if any(part.isdigit() for part in name.split(".")) else name for name in names})
    return ", ".join(kinds)
