"""LoRA in its plain form, for readers that know ``W + lora_alpha / r * B A`` and nothing else.

A server's LLM is one: it has a single scale and no second adapter. What is brought here computes the same.
"""

from collections.abc import Mapping
from typing import Any

import torch

from nemo_vtb.modules.lora.shifted import INITIAL

# What no single product B A can say; folders with it are read by nemo_vtb and PEFT alone.
_NOT_PLAIN = ("use_dora", "lora_bias", "modules_to_save", "target_parameters")


@torch.no_grad()
def join_initial(wrapped: Any) -> dict[str, Any] | None:
    """Makes one adapter of twice the rank out of PiSSA's or OLoRA's two.

    Args:
        wrapped: A PeftModel, changed in place.

    Returns:
        The fields of ``model.lora`` that are others now; None where there was one adapter already.
    """
    if INITIAL not in wrapped.peft_config:
        return None
    for layer in _layers(wrapped):
        rank = layer.r["default"]
        for name, along in (("lora_A", 0), ("lora_B", 1)):
            half = getattr(layer, name)
            joined = torch.cat([half["default"].weight, half[INITIAL].weight.to(half["default"].weight)], along)
            half["default"].weight = torch.nn.Parameter(joined.contiguous())
        layer.delete_adapter(INITIAL)
        layer.r["default"] = 2 * rank
        # ``set_scale`` works the scale out of these two again.
        layer.lora_alpha["default"] *= 2**0.5 if layer.use_rslora["default"] else 2
    del wrapped.peft_config[INITIAL]
    config = wrapped.peft_config["default"]
    stretch = 2**0.5 if config.use_rslora else 2
    changed = {
        "r": 2 * config.r,
        "lora_alpha": stretch * config.lora_alpha,
        "rank_pattern": {name: 2 * rank for name, rank in (config.rank_pattern or {}).items()},
        "alpha_pattern": {name: stretch * alpha for name, alpha in (config.alpha_pattern or {}).items()},
        "init_lora_weights": True,
    }
    return _write(config, changed)


@torch.no_grad()
def single_scale(wrapped: Any) -> dict[str, Any] | None:
    """Moves the scales of rsLoRA and of the patterns into the up-projections, so that all have ``lora_alpha / r``.

    Args:
        wrapped: A PeftModel with one adapter, changed in place.

    Returns:
        The fields of ``model.lora`` that are others now; None where nothing had to be moved.
    """
    config = wrapped.peft_config["default"]
    if not (config.use_rslora or config.rank_pattern or config.alpha_pattern):
        return None
    wanted = config.lora_alpha / config.r
    for layer in _layers(wrapped):
        factor = layer.scaling["default"] / wanted
        for parameter in layer.lora_B["default"].parameters():
            parameter.mul_(factor)
        layer.use_rslora["default"] = False
        layer.lora_alpha["default"] = wanted * layer.r["default"]
        layer.scaling["default"] = wanted
    ranks = dict(config.rank_pattern or {})
    alphas = {name: wanted * rank for name, rank in ranks.items()}
    return _write(config, {"use_rslora": False, "alpha_pattern": alphas})


def not_plain(section: Mapping[str, Any] | None) -> str | None:
    """The setting of a ``lora`` section that a reader of plain LoRA would miss, if there is one."""
    return next((key for key in _NOT_PLAIN if (section or {}).get(key)), None)


def _layers(wrapped: Any) -> list[Any]:
    from peft.tuners.lora import LoraLayer

    return [part for part in wrapped.modules() if isinstance(part, LoraLayer)]


def _write(config: Any, changed: dict[str, Any]) -> dict[str, Any]:
    for name, value in changed.items():
        setattr(config, name, value)
    return changed
