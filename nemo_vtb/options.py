"""Values of a config, typed: the keys of a dataclass or the arguments of a host's class, each checked by its hint."""

import inspect
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from nemo_vtb.config import check_keys, failed_interpolation, referred_keys
from nemo_vtb.errors import VTBError

Options = TypeVar("Options")
_MISSING = "???"


class Key(NamedTuple):
    """A key of a section that is no dataclass: what it holds, what it is for, its default; ``???`` must be given."""

    holds: str
    says: str
    default: Any = _MISSING


# Of conf/synth/common.yaml.
JOB_KEYS = {
    "out": Key("a path", "Folder of the shards, and of the joined files at the end."),
    "seed": Key("int of at least 0", "Of all draws."),
    "shard_size": Key("int of at least 1", "Items per shard: what a killed process loses."),
    "processes": Key("int of at least 1", "Side by side on this machine, each with models of its own."),
    "part": Key("str", "0/4: of four jobs that share the folder, this is the first."),
    "max_bad_share": Key("float of at least 0 up to 1", "Share of the items that may have bad input before it stops."),
    "tar_shards": Key("int of at least 0", "Also writes the result as this many tars for NeMo and as Lhotse Shar."),
}
_NUMBERS = (bool, int, float)


@dataclass(frozen=True)
class Range:
    """Bounds of a number, in a hint: ``Annotated[int, Range(1)]``.

    Attributes:
        least: Smallest value.
        most: Largest one; infinity sets no limit.
        above: Whether ``least`` itself is too small.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        return (value > self.least if self.above else value >= self.least) and value <= self.most

    def __str__(self) -> str:
        low = "" if self.least == -math.inf else f"{'above' if self.above else 'of at least'} {self.least:.12g}"
        high = "" if self.most == math.inf else f"up to {self.most:.12g}"
        return " ".join(part for part in (low, high) if part)


# Kept within what a machine can hold: a slip of some zeros is an error and not a run that never begins.
Count = Annotated[int, Range(1, 10**9)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Draws = Annotated[int, Range(1, 10**6)]
Tokens = Annotated[int, Range(1, 10**5)]
Share = Annotated[float, Range(0, 1)]
Threads = Annotated[int, Range(0, 1024)] | Literal["auto"]


def read_options(
    kind: type[Options], section: Mapping[str, Any], where: str = "", others: Iterable[str] = (), nulls: bool = False
) -> Options:
    """Takes the keys of a dataclass out of a section.

    Args:
        kind: A dataclass; its fields may be dataclasses, and numbers with a ``Range``.
        section: Of the config.
        where: Name of the section; empty for the whole config.
        others: Keys that somebody else reads.
        nulls: Whether null stands for the default of any key.

    Raises:
        VTBError: Names the key that is unknown, missing or of a wrong type, what it holds and what it may hold.
    """
    known = fields(kind)  # type: ignore[arg-type]
    own = [] if where else referred_keys(section)
    check_keys(section, [*others, *own, *(field.name for field in known)], where or "config")
    given = plain(section)
    begin = f"{where}." if where else ""
    hints = get_type_hints(kind, include_extras=True)
    values = {}
    for field in known:
        value = given.get(field.name, _MISSING)
        if value == _MISSING or (value is None and nulls):
            if is_required(field):
                raise VTBError(f"missing config key {begin}{field.name}")
            continue
        values[field.name] = typed(f"{begin}{field.name}", value, hints[field.name])
    return kind(**values)


def is_required(field: "Field[Any]") -> bool:
    """Whether a key of a dataclass must be given."""
    return field.default is MISSING and field.default_factory is MISSING


def check_arguments(called: Any, section: Mapping[str, Any], where: str) -> None:
    """Checks a section whose keys are the arguments of a host's function or class.

    Raises:
        VTBError: Names the key that is no argument, or whose value the argument's hint does not allow.
    """
    parameters = inspect.signature(called).parameters
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        check_keys(section, parameters, where)
    try:
        hints = get_type_hints(called.__init__ if inspect.isclass(called) else called, include_extras=True)
    except (NameError, TypeError):
        # A hint that stands in quotes for type checkers alone.
        return
    for key, value in plain(section).items():
        if key in hints and value != _MISSING:
            typed(f"{where}.{key}", value, hints[key])


def plain(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section as plain containers, its interpolations filled in.

    Raises:
        VTBError: Names the key whose interpolation fails.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not OmegaConf.is_config(section):
        return dict(section)
    try:
        found: Any = OmegaConf.to_container(section, resolve=True)  # type: ignore[arg-type]
    except OmegaConfBaseException as error:
        raise VTBError(failed_interpolation(section, error)) from error
    return found


def typed(where: str, value: Any, hint: Any) -> Any:
    """Returns a value as its hint wants it: whole numbers become floats, lists tuples, sections dataclasses.

    Raises:
        VTBError: Names the key, what it holds and what it may hold.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Annotated:
        found = typed(where, value, arguments[0])
        for bound in arguments[1:]:
            if isinstance(bound, Range) and not bound.holds(found):
                raise _refusal(where, value, hint)
        return found
    if origin in (Union, UnionType):
        return _one_of(where, value, hint)
    if origin is Literal:
        if not any(value == known and type(value) is type(known) for known in arguments):
            raise VTBError(f"{where} is {value!r}; it may be {', '.join(map(str, arguments))}")
        return value
    if is_dataclass(hint) and not isinstance(value, hint):  # type: ignore[arg-type]
        if not isinstance(value, Mapping):
            raise VTBError(f"{where} is {value!r}; it is a section of {', '.join(f.name for f in fields(hint))}")
        return read_options(hint, value, where)  # type: ignore[arg-type]
    container = origin or hint
    if not isinstance(container, type) or (isinstance(value, container) and container not in (*_NUMBERS, str)):
        return _container(where, value, hint)
    if issubclass(container, tuple | list) or container in (Sequence, Iterable):
        if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
            raise _refusal(where, value, hint)
        return _container(where, tuple(value) if issubclass(container, tuple) else list(value), hint)
    return _plain_value(where, value, hint)


def _one_of(where: str, value: Any, hint: Any) -> Any:
    """The value by the first part of a union that takes it; one that has its very type goes before."""
    parts = sorted(get_args(hint), key=lambda part: part is not type(value))
    failed: list[VTBError] = []
    for part in parts:
        try:
            return typed(where, value, part)
        except VTBError as error:
            failed.append(error)
    inner = [part for part in parts if part is not NoneType]
    # What is wrong inside a section or list says more than that it is none.
    deep = [error for error in failed if not str(error).startswith(f"{where} is ")]
    if deep or len(inner) == 1:
        raise deep[0] if deep else failed[parts.index(inner[0])]
    raise _refusal(where, value, hint)


def _container(where: str, value: Any, hint: Any) -> Any:
    arguments = get_args(hint)
    if isinstance(value, Mapping) and len(arguments) == 2:
        return {
            typed(where, key, arguments[0]): typed(f"{where}.{key}", item, arguments[1]) for key, item in value.items()
        }
    if isinstance(value, tuple) and len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(typed(where, item, arguments[0]) for item in value)
    if isinstance(value, list) and len(arguments) == 1:
        return [typed(where, item, arguments[0]) for item in value]
    return value


def _plain_value(where: str, value: Any, hint: Any) -> Any:
    if hint is bool or hint is int:
        if type(value) is not hint:
            raise _refusal(where, value, hint)
        return value
    if hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise _refusal(where, value, hint)
        return float(value)
    if hint is str:
        if not isinstance(value, str):
            raise _refusal(where, value, hint)
        return value
    # Objects cannot stand in a config; what they are made from can, with a _target_.
    if hint in (NoneType, Mapping, dict) or get_origin(hint) is not None or not isinstance(value, Mapping | str):
        raise _refusal(where, value, hint)
    return value


def _refusal(where: str, value: Any, hint: Any) -> VTBError:
    return VTBError(f"{where} is {value!r}; it is {words(hint)}")


def words(hint: Any) -> str:
    """Says what a hint allows, as messages and the reference of all keys have it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return " ".join([words(arguments[0]), *(str(bound) for bound in arguments[1:])])
    if origin in (Union, UnionType):
        return " or ".join(words(part) for part in arguments)
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if hint is NoneType:
        return "null"
    if hint is Any:
        return "anything"
    container = origin or hint
    if (isinstance(container, type) and issubclass(container, list | tuple)) or container in (Sequence, Iterable):
        return f"a list of {words(arguments[0])}" if arguments else "a list"
    if container in (dict, Mapping):
        return "a section"
    return getattr(hint, "__name__", str(hint))


def number_or_word(text: str) -> int | str:
    """An option that is a whole number or a word such as ``auto``."""
    return int(text) if text.removeprefix("-").isdecimal() else text


def weights(named: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Weights by name; one that stands there several times has all of them together."""
    found: dict[str, float] = {}
    for name, weight in named:
        found[name] = found.get(name, 0.0) + weight
    return found


def part_of(text: Any) -> tuple[int, int]:
    """Reads ``0/4``: number and how many.

    Raises:
        VTBError: If it is no part.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", str(text))
    if match and int(match[1]) < int(match[2]):
        return int(match[1]), int(match[2])
    raise VTBError(f"part={text}: parts are numbered from 0, as in part=0/4")
