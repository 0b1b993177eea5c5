"""What stands for a class or a function of a module that has not been executed.

A module that says ``from torch._dynamo import OptimizedModule`` and compares objects with it needs no compiler for
that: nothing is an ``OptimizedModule`` before ``torch._dynamo`` was executed. A stand-in is asked for in the place of
the class or the function; it executes the module once it is called.
"""

import ctypes
import functools
import os
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, TypeVar

Decorated = TypeVar("Decorated")


class Owner(NamedTuple):
    """The module that has what a stand-in stands for.

    Attributes:
        name: Of the module.
        executed: Gives it, or None before it is executed.
        execute: Gives it, executed.
        afterwards: What is to be called once it is executed.
    """

    name: str
    executed: Callable[[], ModuleType | None]
    execute: Callable[[], ModuleType]
    afterwards: list[Callable[[], Any]]


class _ClassStandIn(type):
    """Metaclass of what stands for a class."""

    owner: Owner

    def _executed(cls) -> Any:
        return getattr(cls.owner.executed(), cls.__name__, None)

    def __instancecheck__(cls, instance: Any) -> bool:
        own = cls._executed()
        return own is not None and isinstance(instance, own)

    def __subclasscheck__(cls, subclass: type) -> bool:
        own = cls._executed()
        return own is not None and issubclass(subclass, own)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return getattr(cls.owner.execute(), cls.__name__)(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return getattr(getattr(cls.owner.execute(), cls.__name__), name)


def of_class(owner: Owner, name: str) -> type:
    """Returns what answers as the class does: the same instances, calls and attributes."""
    return _ClassStandIn(name, (), {"__module__": owner.name, "owner": owner})


def of_function(owner: Owner, name: str) -> Callable:
    """Returns a function that calls the one it stands for."""

    def stand_in(*args: Any, **kwargs: Any) -> Any:
        return getattr(owner.execute(), name)(*args, **kwargs)

    stand_in.__module__, stand_in.__name__, stand_in.__qualname__ = owner.name, name, name
    return stand_in


def of_mark(owner: Owner, name: str) -> Callable[[Decorated], Decorated]:
    """Returns a decorator for one that returns what it is given: it decorates once its module is executed."""

    def stand_in(decorated: Decorated) -> Decorated:
        def mark() -> None:
            getattr(owner.execute(), name)(decorated)

        if owner.executed() is None:
            owner.afterwards.append(mark)
        else:
            mark()
        return decorated

    return stand_in


def of_guard(owner: Owner, name: str) -> Callable:
    """Returns a decorator for one that keeps its module off functions: they need none of it before it is executed."""

    def stand_in(guarded: Any = None, *args: Any, **kwargs: Any) -> Any:
        if owner.executed() is not None or not isinstance(guarded, FunctionType | None):
            return getattr(owner.execute(), name)(guarded, *args, **kwargs)
        if guarded is None:
            return lambda function: stand_in(function, *args, **kwargs)
        own: Callable | None = None

        @functools.wraps(guarded)
        def wrapped(*given: Any, **named: Any) -> Any:
            nonlocal own
            if own is None and owner.executed() is None:
                return guarded(*given, **named)
            own = own or getattr(owner.execute(), name)(guarded, *args, **kwargs)
            return own(*given, **named)

        return wrapped

    return stand_in


def of_version(owner: Owner, name: str) -> str:
    """Returns the version of a package as it was installed, which is its ``__version__``."""
    return version(owner.name)


def of_cuda(owner: Owner, name: str) -> ModuleType:
    """Returns a submodule that is asked whether there is CUDA; without a driver it answers before it is executed."""

    class StandIn(ModuleType):
        def is_available(self) -> bool:
            return _cuda_may_be_there() and import_module(self.__name__).is_available()

        def __getattr__(self, attribute: str) -> Any:
            if attribute.startswith("__") and attribute.endswith("__"):
                raise AttributeError(attribute)
            return getattr(import_module(self.__name__), attribute)

    found = StandIn(f"{owner.name}.{name}")
    owner.afterwards.append(lambda: import_module(found.__name__))
    return found


def _cuda_may_be_there() -> bool:
    """Whether a driver of CUDA can be loaded, or numba was told of another one or of its simulator."""
    if os.environ.get("NUMBA_CUDA_DRIVER") or os.environ.get("NUMBA_ENABLE_CUDASIM"):
        return True
    for name in ("libcuda.so", "libcuda.so.1"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False
