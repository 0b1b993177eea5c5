"""Checks of replies, looked at before anything is asked; ``sets.instructions`` says what they mean."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.sets.instructions import follows


def check_usable(check: Any, where: str) -> None:
    """Refuses a check, or a list of them, that could not be applied or that no reply could pass.

    Raises:
        VTBError: Names the place and the key.
    """
    parts = check if isinstance(check, list) else [check]
    if not parts:
        raise VTBError(f"{where}: the list of checks is empty, so that no reply could pass; leave it out or fill it")
    for part in parts:
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise VTBError(f"{where}: the check {part!r} is no mapping with a type, e.g. {{type: exact, answer: yes}}")
        try:
            _check_keys(part)
            follows("", part)
        except VTBError as error:
            raise VTBError(f"{where}: {error}") from error


def _check_keys(check: Mapping[str, Any]) -> None:
    kind = check["type"]
    for key in _KEYS.keys() & check.keys():
        fits, words = _NUMBER if (kind, key) == ("number", "answer") else _KEYS[key]
        if not fits(check[key]):
            raise VTBError(f"a check of type '{kind}' has {key}={check[key]!r}; it is {words}")
    if kind == "regex" and "pattern" in check:
        try:
            re.compile(check["pattern"])
        except re.error as error:
            raise VTBError(
                f"a check of type 'regex' has pattern={check['pattern']!r}, which is none: {error}"
            ) from error
    if kind == "choice" and {"answer", "options"} <= check.keys() and check["answer"] not in check["options"]:
        raise VTBError(f"a check of type 'choice' has answer={check['answer']!r}, which is none of its options")


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


_Rule = tuple[Callable[[Any], bool], str]
_TEXT: _Rule = (lambda value: isinstance(value, str), "a text")
_TEXTS: _Rule = (lambda value: _is_texts(value) and bool(value), "a list of at least one text")
_COUNT: _Rule = (lambda value: type(value) is int and value >= 0, "a whole number")
_NUMBER: _Rule = (_is_number, "a number")
_KEYS: dict[str, _Rule] = {
    **dict.fromkeys(("answer", "text", "pattern"), _TEXT),
    **dict.fromkeys(("any", "all", "options"), _TEXTS),
    **dict.fromkeys(("exactly", "at_least", "at_most"), _COUNT),
    # Without keys it asks for any JSON object.
    "keys": (_is_texts, "a list of texts"),
}
