"""Evaluation mode for a while, in the middle of training."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Puts a module and all its parts in evaluation mode, then each part back in the mode it had.

    ``model.train()`` would put parts in training mode that were kept out of it.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
