"""LoRA's weights and their optimizer's moments as whole tensors, and each rank's part of them again."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nemo_vtb.modules.megatron.cut import Cut, cut_of, joined, own_part
from nemo_vtb.modules.megatron.groups import tensor_group
from nemo_vtb.modules.megatron.vocabulary import gathered


def whole_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """Makes every cut tensor whole; all ranks of the group take part, in the order of the names.

    Args:
        state: Tensors by parameter name.
    """
    return {name: _whole(name, value) for name, value in state.items()}


def own_state(state: Mapping[str, Any]) -> dict[str, Any]:
    """This rank's part of whole tensors by parameter name."""
    group = tensor_group()
    return {name: own_part(value, cut_of(name), group.rank(), group.size()) for name, value in state.items()}


def whole_moments(states: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The states of an optimizer by parameter name, each value that is cut like its parameter made whole."""
    return {
        name: {key: _whole(name, value) if _is_cut(value) else value for key, value in of_one.items()}
        for name, of_one in states.items()
    }


def own_moments(states: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """This rank's part of an optimizer's whole states."""
    group = tensor_group()
    return {
        name: {
            key: own_part(value, cut_of(name), group.rank(), group.size()) if _is_cut(value) else value
            for key, value in of_one.items()
        }
        for name, of_one in states.items()
    }


def _whole(name: str, value: Tensor) -> Tensor:
    cut = cut_of(name)
    return value if cut is Cut.WHOLE else joined(gathered(value.detach()), cut)


def _is_cut(value: Any) -> bool:
    # A count of steps is a scalar; factored moments (Adafactor) are vectors, which are not cut like their matrix.
    return isinstance(value, Tensor) and value.dim() == 2
