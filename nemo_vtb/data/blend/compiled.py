"""Compiling of inner loops, kept on disk: a start pays seconds for it once, not every time."""

from collections.abc import Callable
from typing import TypeVar

from numba import njit

Loop = TypeVar("Loop", bound=Callable)


def compiled(loop: Loop) -> Loop:
    """Compiles a function at its first call, or takes what an earlier process compiled of the same file."""
    try:
        return njit(cache=True)(loop)
    except RuntimeError:
        # Neither the package's folder nor the user's can be written to.
        return njit(loop)
