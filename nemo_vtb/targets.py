"""Sections that name a class with ``_target_``: checked before it is called, blamed by key where it refuses them."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import blamed_on
from nemo_vtb.options import check_arguments, plain, typed

_NUMBERS = (int, float)


def check_targets(section: Any, where: str) -> None:
    """Refuses a ``_target_`` that is no dotted name, and wrong values for arguments of our own classes.

    Args:
        section: A section, or a list of them; those within are looked at too.
        where: Its name.

    Raises:
        VTBError: Names the key.
    """
    for path, part in _parts(section, where):
        target = part["_target_"]
        if not isinstance(target, str) or "." not in target.strip("."):
            raise VTBError(f"{path}._target_ is {target!r}; it is the full name of a class, e.g. torch.optim.AdamW")
        if target.startswith("nemo_vtb.") and (called := _located(target)) is not None:
            given = {key: value for key, value in part.items() if not key.startswith("_")}
            check_arguments(called, given, path)


@contextmanager
def built_from(section: Any, where: str) -> Iterator[None]:
    """Names the keys of a section in what a host raises that is given it.

    Raises:
        VTBError: In the place of any other exception.
    """
    try:
        with blamed_on(where):
            yield
    except VTBError as error:
        if error.__cause__ is not None and (odd := suspects(section, where)):
            raise VTBError(f"{', '.join(odd)}: {error}") from error
        raise


def suspects(section: Any, where: str) -> list[str]:
    """The values of a section that are of another type than what its classes have as a hint or default."""
    found = []
    for path, part in _parts(section, where):
        parameters = _parameters(_located(str(part["_target_"])))
        for key, value in part.items():
            if not key.startswith("_") and key in parameters and _is_odd(value, parameters[key]):
                found.append(f"{path}.{key} is {value!r}")
    return found


def _parts(section: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(section, list):
        for number, item in enumerate(section):
            yield from _parts(item, f"{where}[{number}]")
    elif hasattr(section, "keys"):
        found = plain(section)
        if "_target_" in found:
            yield where, found
        for key, value in found.items():
            yield from _parts(value, f"{where}.{key}")


def _located(target: str) -> Any:
    module, _, name = target.rpartition(".")
    try:
        return getattr(import_module(module), name, None)
    except Exception:
        # What cannot be imported is for whoever instantiates it to refuse.
        return None


def _parameters(called: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(called).parameters
    except (TypeError, ValueError):
        return {}


def _is_odd(value: Any, parameter: inspect.Parameter) -> bool:
    default = parameter.default
    if default is inspect.Parameter.empty and parameter.annotation is inspect.Parameter.empty:
        return not isinstance(value, _NUMBERS) or isinstance(value, bool)
    if parameter.annotation is not inspect.Parameter.empty:
        try:
            typed("", value, parameter.annotation)
        except (VTBError, TypeError):
            return True
        return isinstance(value, _NUMBERS) and not isinstance(value, bool) and not 0 <= value < 10**9
    if isinstance(default, _NUMBERS) and not isinstance(default, bool):
        return isinstance(value, bool) or not isinstance(value, _NUMBERS) or not 0 <= value < 10**9
    return default is not None and not isinstance(value, type(default))
