"""Activation checkpointing of layers, in training and evaluation mode alike, without new parameter names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def layers_of(module: nn.Module) -> list[nn.Module]:
    """All members of the module lists called ``layers``, as NeMo and Hugging Face name their stacks."""
    return [
        layer
        for name, stack in module.named_modules()
        if name.rpartition(".")[2] == "layers" and isinstance(stack, nn.ModuleList)
        for layer in stack
    ]


def recompute_in_backward(layers: list[nn.Module]) -> None:
    """Lets layers keep only their inputs for the backward pass.

    Hugging Face's own switch does nothing in evaluation mode, in which a frozen LLM runs while gradients flow through
    it; PyTorch's wrapper modules rename parameters. The second run happens in the modes of the first, which for a dummy
    clip are not those of the training step.
    """
    for layer in layers:
        layer.forward = _recomputed(layer.forward, layer)


def _recomputed(forward: Callable[..., Any], layer: nn.Module) -> Callable[..., Any]:
    parts = list(layer.modules())
    norms = [part for part in parts if isinstance(part, nn.modules.batchnorm._BatchNorm)]

    @contextmanager
    def as_before(modes: list[bool]) -> Iterator[None]:
        """The modes of the forward pass; batch norms do not learn from the same batch twice."""
        now = [part.training for part in parts]
        statistics = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
        _set_modes(parts, modes)
        try:
            yield
        finally:
            _set_modes(parts, now)
            for buffer, value in statistics:
                # Unseen by autograd, as are the changes that a batch norm makes itself.
                buffer.data.copy_(value)

    @wraps(forward)
    def run(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        modes = [part.training for part in parts]
        contexts = partial(_pair, nullcontext, partial(as_before, modes))
        return checkpoint(forward, *args, use_reentrant=False, context_fn=contexts, **kwargs)

    return run


def _pair(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    return first(), second()


def _set_modes(parts: list[nn.Module], modes: list[bool]) -> None:
    for part, training in zip(parts, modes, strict=True):
        part.training = training
