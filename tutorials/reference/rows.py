"""A row for each key: of dataclasses, of classes that a config names with ``_target_``, and of tables of keys."""

import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from nemo_vtb.config import compose
from nemo_vtb.options import Key, words

REQUIRED = "???"


@dataclass(frozen=True)
class Row:
    """A key.

    Attributes:
        key: Below its section, dotted.
        holds: What it may hold.
        default: A value, or ``???`` where it must be given.
        says: One line.
    """

    key: str
    holds: str
    default: Any
    says: str


def of_dataclass(kind: Any, prefix: str = "", without: Collection[str] = ()) -> list[Row]:
    """Its fields; those that are dataclasses themselves with theirs behind them."""
    hints, lines = get_type_hints(kind, include_extras=True), documented(kind)
    found = []
    for field in fields(kind):
        if field.name in without:
            continue
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        default = REQUIRED if default is MISSING else default
        inner, middle = list(_inner(hints[field.name])), _middle(hints[field.name])
        held = "a section" if inner and middle == "." else words(hints[field.name])
        held += " or null" if inner and NoneType in get_args(hints[field.name]) else ""
        found.append(Row(prefix + field.name, held, default, lines[field.name]))
        for one in inner:
            found += of_dataclass(one, f"{prefix}{field.name}{middle}")
    return found


def of_class(kind: Any, without: Collection[str] = ()) -> list[Row]:
    """The arguments of a class that a config names."""
    hints = get_type_hints(kind.__init__, include_extras=True)
    lines = documented(kind)
    return [
        Row(
            name,
            words(hints.get(name, Any)),
            REQUIRED if one.default is inspect.Parameter.empty else one.default,
            lines[name],
        )
        for name, one in inspect.signature(kind).parameters.items()
        if name not in without and one.kind is not inspect.Parameter.VAR_KEYWORD
    ]


def of_keys(keys: Mapping[str, Key]) -> list[Row]:
    """A table of keys as a reader has it."""
    return [Row(name, key.holds, key.default, key.says) for name, key in keys.items()]


def of_host(
    defaults: Mapping[str, tuple[Any, Any]],
    lines: Mapping[str, str],
    refused: Mapping[str, str],
    holds: Mapping[str, str] | None = None,
) -> list[Row]:
    """Keys of a host: hint and default by its own code, with our line, or why we refuse it.

    Args:
        defaults: Hint and default of each.
        lines: In our words.
        refused: Why not, for those without a line.
        holds: What we take where that is other than what the host does.

    Raises:
        KeyError: Names keys without a line, and lines without a key.
    """
    if odd := (set(defaults) - set(lines) - set(refused)) | (set(lines) - set(defaults)):
        raise KeyError(f"a line in tutorials/reference/hosts.py for each of, and no other: {', '.join(sorted(odd))}")
    return [
        Row(key, (holds or {}).get(key) or words(hint), default, lines.get(key) or f"Refused: {refused[key]}")
        for key, (hint, default) in defaults.items()
    ]


def with_defaults(rows: list[Row], config: str, section: str = "") -> list[Row]:
    """The same with what a shipped config has, where it has the key."""
    cfg: Any = OmegaConf.to_container(_shipped(config), resolve=False)
    for part in section.split(".") if section else ():
        cfg = cfg[part]
    return [replace(row, default=_at(cfg, row.key, row.default)) for row in rows]


@cache
def _shipped(config: str) -> Any:
    return compose(config, [])


def documented(kind: Any) -> dict[str, str]:
    """What its docstring, and those of what it extends, say of attributes and arguments: first sentences, by name."""
    found: dict[str, str] = {}
    for one in reversed(inspect.getmro(kind)):
        text = inspect.cleandoc(one.__dict__.get("__doc__") or "")
        for block in re.findall(r"^(?:Attributes|Args):\n((?:    .*\n?|\n)+)", text, re.MULTILINE):
            for name, says in re.findall(r"^    (\w+): ((?:.*\n?)(?:      .*\n?)*)", block, re.MULTILINE):
                found[name] = re.split(r"(?<=[.?!]) (?=[A-Z])", " ".join(says.split()))[0]
    return found


def _inner(hint: Any) -> Iterator[type]:
    if isinstance(hint, type) and is_dataclass(hint):
        yield hint
    elif get_origin(hint) is not None:
        for part in get_args(hint):
            yield from _inner(part)


def _middle(hint: Any) -> str:
    """What stands between a key and those within."""
    kinds = [get_origin(part) for part in (hint, *get_args(hint))]
    return ".NAME." if dict in kinds else "[]." if list in kinds else "."


def _at(section: Any, key: str, usual: Any) -> Any:
    for part in key.split("."):
        if not isinstance(section, dict) or part not in section:
            return usual
        section = section[part]
    return section
