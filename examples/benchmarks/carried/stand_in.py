"""Stands in the place of a package that was left out because nothing of it is used.

It lets itself be imported, named in annotations and put around functions. Whoever uses it is told that it is not there.
"""

import functools
from collections.abc import Callable
from typing import Any

# Put around functions and classes when they are defined; numba's.
_DECORATORS = ("jit", "njit", "vectorize", "guvectorize", "stencil")


class _Name(type):
    """Of a class, so that ``isinstance`` and annotations take it."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        raise _left_out(cls.__qualname__)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _named(f"{cls.__qualname__}.{name}")


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _decorator if name in _DECORATORS else _named(f"{__name__}.{name}")


def _named(name: str) -> _Name:
    return _Name(name, (), {"__module__": __name__})


def _decorator(*given: Any, **_: Any) -> Callable[..., Any]:
    if len(given) != 1 or not callable(given[0]) or isinstance(given[0], _Name):
        return _decorator

    @functools.wraps(given[0])
    def unusable(*_: Any, **__: Any) -> Any:
        raise _left_out(f"{__name__}, which {given[0].__module__}.{given[0].__qualname__} needs,")

    return unusable


def _left_out(what: str) -> ImportError:
    return ImportError(
        f"{what} was left out of this folder: name it no longer in LEFT_OUT of carried/files.py, and pack again"
    )
