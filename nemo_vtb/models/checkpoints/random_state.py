"""The random state of a process: Python, NumPy, PyTorch on the CPU and on this rank's GPU."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

RandomState = dict[str, Any]


def random_state() -> RandomState:
    """Returns the state as tensors and plain numbers, which load without running code."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()
    state: RandomState = {
        "python": [version, torch.tensor(words, dtype=torch.int64), gauss],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: RandomState) -> None:
    """Goes on from a state; a GPU's is used where there is one."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(_own_memory(state["torch"]))
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(_own_memory(state["cuda"]))


def _own_memory(state: Tensor) -> Tensor:
    # A checkpoint is mapped from its file; PyTorch wants a tensor of its own here.
    return state.clone()
