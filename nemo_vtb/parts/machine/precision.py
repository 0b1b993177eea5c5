"""Half precision with float32 masters: frozen weights are narrow, what trains and every buffer is float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@torch.no_grad()
def narrow_frozen(module: nn.Module, dtype: torch.dtype) -> None:
    """Casts frozen parameters to ``dtype``; trained ones, buffers and batch norms become or stay float32.

    Rotary frequencies and batch statistics are buffers: eight bits of mantissa would move positions and means.
    """
    for part in module.modules():
        wide = isinstance(part, nn.modules.batchnorm._BatchNorm)
        for parameter in part.parameters(recurse=False):
            # A quantised weight is of a class of its own, and as narrow as it can be.
            if parameter.is_floating_point() and (type(parameter) is nn.Parameter or parameter.requires_grad):
                parameter.data = parameter.data.to(torch.float32 if wide or parameter.requires_grad else dtype)
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.is_floating_point():
                part._buffers[name] = buffer.float()


@contextmanager
def half_arithmetic(device_type: str, dtype: torch.dtype | None) -> Iterator[None]:
    """Autocast to ``dtype`` with float32 as the default of new tensors; does nothing for None.

    Lightning's half precision makes ``dtype`` the default, in which a count of more than 256 tokens is rounded.
    """
    if dtype is None:
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.autocast(device_type, dtype=dtype):
            yield
    finally:
        torch.set_default_dtype(before)
