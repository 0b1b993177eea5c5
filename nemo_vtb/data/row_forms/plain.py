"""Rows of the plainest shape, of which nothing has to be asked that the names of their fields do not answer.

Whoever reads such a row takes what it needs and skips the checks of odd forms. Every other row goes the careful way,
which is also the one that says what is wrong.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from nemo_vtb.data.audio.headers import Measured
from nemo_vtb.data.row_forms.fields import is_inert
from nemo_vtb.data.row_forms.switches import may_switch

_SCALARS = (str, int, float, bool, type(None))
# In ``custom`` these are read, not carried.
_READ_IN_CUSTOM = frozenset(("_skipme", "unscored"))


class PlainRow(NamedTuple):
    """What a plain row says.

    Attributes:
        turns: ``(role, text)``, neighbours by different roles, every answer learnt.
        tag: The placeholder of its clip, which stands behind the first user's turn; None without a clip.
        seconds: How long the clip is.
        clips: Name and measures of the clip.
    """

    turns: list[tuple[str, str]]
    tag: str | None = None
    seconds: float | None = None
    clips: tuple[tuple[str, Measured], ...] = ()


def plain_row(line: bytes) -> dict[str, Any] | None:
    """Parses a line of JSON; None where only the careful way can tell what it is."""
    try:
        row = orjson.loads(line)
        if type(row) is not dict or b"\\\\" in line:
            return None
        # A key that stands twice is lost here, and its quotes with it.
        return row if _quotes(line) == _quotes(orjson.dumps(row)) else None
    except (orjson.JSONDecodeError, orjson.JSONEncodeError, RecursionError):
        return None


def has_plain_fields(fields: Mapping[str, Any], read: frozenset[str], nested: str | None = None) -> bool:
    """Whether an object holds nothing but fields that are read, and such as change nothing.

    Args:
        fields: Of a row or a message.
        read: Names that whoever asks reads; it looks at their values itself.
        nested: The one field that may be a list or an object, beside ``custom``.
    """
    if not _plain_names(tuple(fields), read):
        return False
    for key, value in fields.items():
        if type(value) not in _SCALARS and key != nested and not (key == "custom" and _is_plain_custom(value)):
            return False
    return True


def is_plain_tag(value: Any) -> bool:
    """Whether a value is the tag of a language, or nothing."""
    return value is None or (type(value) is str and value.replace("-", "").replace("_", "").isalnum())


@lru_cache(maxsize=4096)
def _plain_names(names: tuple[str, ...], read: frozenset[str]) -> bool:
    return all(name in read or is_inert(name) for name in names) and not any(map(may_switch, names))


def _is_plain_custom(value: Any) -> bool:
    return type(value) is dict and _plain_custom_names(tuple(value))


@lru_cache(maxsize=4096)
def _plain_custom_names(names: tuple[str, ...]) -> bool:
    return _READ_IN_CUSTOM.isdisjoint(names) and not any(map(may_switch, names))


def _quotes(line: bytes) -> int:
    return line.count(b'"') - line.count(b'\\"')
