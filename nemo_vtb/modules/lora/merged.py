"""LoRA added to the weights for a while, so that every answer does not pay for its products."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nemo_vtb.modules.lora.untouched import adapters_off


@contextmanager
def merged_lora(llm: nn.Module) -> Iterator[bool]:
    """Adds LoRA to the weights of an LLM for the time of the block, and puts the very same weights back.

    Where the sum could not be taken back or would be another one it is not done: adapters that are off, others than
    plain LoRA on linear layers, weights that are shared, sharded, or of less precision than float32. While it lasts the
    LLM needs the memory of the adapted weights twice.

    Args:
        llm: In evaluation mode.

    Yields:
        Whether LoRA was added.
    """
    layers = _layers(llm)
    if not layers:
        yield False
        return
    kept = [(layer.get_base_layer().weight, layer.get_base_layer().weight.data) for layer in layers]
    try:
        with torch.no_grad():
            for layer, (weight, untouched) in zip(layers, kept, strict=True):
                weight.data = sum((layer.get_delta_weight(name) for name in layer.active_adapters), untouched)
        with adapters_off(llm):
            yield True
    finally:
        for weight, untouched in kept:
            weight.data = untouched


def _layers(llm: nn.Module) -> list[Any]:
    """The layers with LoRA, where all of it can be added; else none."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    adapted = [part for part in llm.modules() if isinstance(part, BaseTunerLayer | AuxiliaryTrainingWrapper)]
    if not all(map(_adds, adapted)):
        return []
    weights = {id(layer.get_base_layer().weight) for layer in adapted}  # type: ignore[operator]
    return adapted if len(weights) == len(adapted) else []


def _adds(layer: Any) -> bool:
    from peft.tuners.lora import Linear

    if type(layer) is not Linear or layer.disable_adapters or layer.merged:
        return False
    base = layer.get_base_layer()
    if type(base) is not nn.Linear or type(base.weight) is not nn.Parameter or base.weight.dtype != torch.float32:
        return False
    plain = not (any(layer.use_dora.values()) or any(layer.lora_bias.values()) or layer.fan_in_fan_out)
    return plain and not torch.is_autocast_enabled(base.weight.device.type)
