"""Optimizer parameter groups by name pattern."""

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from nemo_vtb.errors import VTBError


def parameter_groups(module: nn.Module, lr: float, lr_scale: Mapping[str, float]) -> list[dict[str, Any]]:
    """Groups trainable parameters; the first pattern that matches a full name scales its learning rate.

    Raises:
        VTBError: If a pattern matches no trainable parameter.
    """
    grouped: dict[str | None, list[nn.Parameter]] = {pattern: [] for pattern in lr_scale}
    grouped[None] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            pattern = next((p for p in lr_scale if re.match(p, name)), None)
            grouped[pattern].append(parameter)
    if empty := [pattern for pattern in lr_scale if not grouped[pattern]]:
        raise VTBError(f"model.lr_scale matches no trainable parameter: {', '.join(empty)}")
    return [
        {"params": parameters, "lr": lr * lr_scale[pattern] if pattern is not None else lr}
        for pattern, parameters in grouped.items()
        if parameters
    ]
