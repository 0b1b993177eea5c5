"""Running a function over some modules' weights as one unit of FSDP2."""

from collections.abc import Callable
from typing import Any

from torch import nn


class Gathered(nn.Module):
    """Runs any function while FSDP2 has the weights of some modules gathered; unsharded, it just runs it.

    FSDP2 gathers what a module holds when that module is called. Ranks whose batches are not alike call the head a
    different number of chunks, or the encoder a different number of sub-batches, and would wait for each other forever;
    around all those calls there is one gathering, and in the backward pass one reduction, on every rank.

    It stands outside the model's tree, so that parameter names stay NeMo's.

    Args:
        *modules: Whose weights the function uses.
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.held = nn.ModuleList(modules)

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        """Returns ``function(*args)``."""
        return function(*args)
