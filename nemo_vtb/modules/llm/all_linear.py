"""What ``target_modules: all-linear`` means in an LLM whose layers are not all plain linear ones."""

import inspect
import re
import sys
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import nn

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.llm.parts import body_of, family
from nemo_vtb.parts.lora_fields import is_named, is_shifted

# What PEFT cannot do beside parameters that are no linear layers.
_NOT_WITH_EXPERTS = ("use_dora", "lora_bias", "lora_dropout")


def widen_all_linear(llm: Any, settings: Mapping[str, Any], gated: bool) -> tuple[dict[str, Any], list[str]]:
    """Leaves out of ``all-linear`` what LoRA cannot adapt and takes in the experts, which are no linear layers.

    Left out are routers, whose class is a linear layer that returns more than a product, layers whose weight is read
    past them, as Mamba's fused kernels do (LoRA would train in silence for nothing), and weights that stand in several
    places. The experts of a mixture are parameters of three dimensions, which PEFT adapts as ``target_parameters``.

    Args:
        llm: Without LoRA.
        settings: Arguments for ``peft.LoraConfig``.
        gated: Whether LoRA is switched per position, which parameters cannot be.

    Returns:
        The settings, and what is to be told.

    Raises:
        VTBError: If the settings name a layer that LoRA cannot adapt.
    """
    settings, told = dict(settings), []
    everything = str(settings.get("target_modules")).lower() == "all-linear"
    left_out = [name for name in _beyond_lora(llm) if everything or is_named(name, settings.get("target_modules"))]
    left_out = [name for name in left_out if not is_named(name, settings.get("exclude_modules"))]
    if left_out and not everything:
        raise VTBError(
            f"model.lora.target_modules names {_shown(left_out)}, which LoRA cannot adapt in {family(llm)}: leave it "
            "out, here or in model.lora.exclude_modules"
        )
    if left_out:
        names = [name for name, _ in llm.named_modules()]
        own = settings.get("exclude_modules") or []
        if isinstance(own, str):
            # A pattern that names nothing stays, for whoever refuses it.
            own = [name for name in names if is_named(name, own)] or [own]
        settings["exclude_modules"] = [*own, *left_out]
        told.append(f"left out: {_shown(left_out)}, which LoRA cannot adapt")
    if not everything:
        return settings, told
    experts = sorted({_tail(name) for name, p in llm.named_parameters() if p.dim() == 3 and "experts" in name})
    if experts and settings.get("target_parameters") is None:
        initial = settings.get("init_lora_weights", True)
        reasons = [key for key in _NOT_WITH_EXPERTS if settings.get(key)]
        reasons += [f"init_lora_weights={initial}"] if is_shifted(settings) or initial == "orthogonal" else []
        if gated or reasons:
            why = "model.text_lora=audio_gated" if gated else reasons[0]
            told.append(f"left out: the experts ({', '.join(experts)}), which cannot be adapted with {why}")
        else:
            settings["target_parameters"] = experts
            told.append(f"taken in: the experts, as target_parameters ({', '.join(experts)})")
    return settings, [f"model.lora.target_modules=all-linear in {family(llm)}: {what}" for what in told]


def _beyond_lora(llm: Any) -> list[str]:
    """Names of linear layers that LoRA cannot adapt, or whose LoRA nobody would look at."""
    from transformers import PreTrainedModel

    body = body_of(llm)
    # A part with a model of its own in it sees or hears (Phi 4 multimodal).
    text = [
        child for child in body.children() if not any(isinstance(part, PreTrainedModel) for part in child.modules())
    ]
    within = {id(module) for child in text for module in child.modules()}
    head = llm.get_output_embeddings()
    # In several places at once (Zamba 2): LoRA would be another one in each, and a merged weight can be only one.
    owners = Counter(id(module.weight) for module in llm.modules() if isinstance(module, nn.Linear))
    found = []
    for name, module in llm.named_modules():
        if not isinstance(module, nn.Linear) or module is head:
            continue
        path, _, own = name.rpartition(".")
        shared = owners[id(module.weight)] > 1
        if shared or id(module) not in within or _returns_more(module) or _is_read_past(llm.get_submodule(path), own):
            found.append(name)
    return sorted(found)


def _returns_more(linear: nn.Linear) -> bool:
    # Of weights in 4 or 8 bits PEFT knows the classes, and a pass would change their state.
    if type(linear).forward is nn.Linear.forward or not linear.weight.is_floating_point():
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
    while parts[-1].isdigit():
        parts.pop()
    last_number = max((index for index, part in enumerate(parts) if part.isdigit()), default=-1)
    return ".".join(parts[last_number + 1 :])


def _shown(names: list[str]) -> str:
    return ", ".join(sorted({_tail(name) for name in names}))
