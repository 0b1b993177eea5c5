"""Verifiable instructions, of the kind of IFEval (arXiv 2311.07911): whether a reply does as told, found by code."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.words import split_words

# One check, or several that must all hold.
Check = Mapping[str, Any] | Sequence[Mapping[str, Any]]
_QUOTES = (('"', '"'), ("“", "”"), ("«", "»"))
# Between the digits of one number: a comma, or a space that does not break.
_GROUPED = re.compile(r"(?<=\d)[,\u00a0\u2009\u202f](?=\d)")
# Behind a digit, a hyphen is no sign: 10-12 ends in 12.
_NUMBER = re.compile(r"(?:(?<!\d)-)?\d+(?:\.\d+)?")


def follows(reply: str, check: Check) -> bool:
    """Tells whether a reply passes a check, or all of a list.

    Args:
        reply: What was said, without special tokens.
        check: ``type`` and what belongs to it: the types of ``score_reply``, or

            * ``capitals``, ``lower_case``: letters, and all of them in that case.
            * ``quotes``: the whole reply stands in one pair of quotation marks.
            * ``words`` with ``exactly``, ``at_least`` or ``at_most``: how many words; of Chinese, how many characters.
            * ``starts_with``, ``ends_with`` with ``text``: case does not count, nor do quotation marks around the reply
              or what punctuation follows its end.
            * ``lacks`` with ``any``: none of these phrases stands in it, as whole words.
            * ``no_comma``: no comma.
            * ``json`` with ``keys``: the reply is a JSON object with these keys; a code fence around it does not count.
            * ``bullets`` with ``exactly``: every line begins with ``-``, ``*`` or ``•``, and there are as many.
            * ``lines`` with ``exactly``: how many lines that are not empty.
            * ``verbatim`` with ``answer``: the reply, without spaces around it, is the answer, case and all.
            * ``number`` with ``answer``: the last number in the reply is this one; commas between digits do not count,
              and a hyphen between two numbers is no sign.

    Raises:
        VTBError: If the type is unknown or a key of it is missing.
    """
    if isinstance(check, Sequence):
        return bool(check) and all(follows(reply, part) for part in check)
    kind = check.get("type")
    if kind not in _CHECKS:
        return score_reply(reply, dict(check))
    try:
        return _CHECKS[kind](reply.strip(), check)
    except KeyError as missing:
        raise VTBError(f"a check of type {kind!r} lacks its key {missing}") from None


def _capitals(reply: str, check: Mapping[str, Any]) -> bool:
    return reply.isupper()


def _lower_case(reply: str, check: Mapping[str, Any]) -> bool:
    return reply.islower()


def _quotes(reply: str, check: Mapping[str, Any]) -> bool:
    pairs = (
        (left, right) for left, right in _QUOTES if len(reply) > 2 and reply.startswith(left) and reply.endswith(right)
    )
    return any(left not in reply[1:-1] and right not in reply[1:-1] for left, right in pairs)


def _words(reply: str, check: Mapping[str, Any]) -> bool:
    count = len(plain_words(reply).split())
    if not {"exactly", "at_least", "at_most"} & check.keys():
        raise KeyError("exactly")
    low, high = check.get("at_least", 0), check.get("at_most", count)
    return low <= count <= high and count == check.get("exactly", count)


def _starts_with(reply: str, check: Mapping[str, Any]) -> bool:
    return reply.lstrip("\"“«'").lower().startswith(check["text"].lower())


def _ends_with(reply: str, check: Mapping[str, Any]) -> bool:
    said, wanted = (text.lower().rstrip("\"”»'.!?… ") for text in (reply, check["text"]))
    return said.endswith(wanted)


def _lacks(reply: str, check: Mapping[str, Any]) -> bool:
    return all(phrase_place(reply, phrase) < 0 for phrase in check["any"])


def _no_comma(reply: str, check: Mapping[str, Any]) -> bool:
    return bool(reply) and "," not in reply


def _json(reply: str, check: Mapping[str, Any]) -> bool:
    keys = set(check["keys"])
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", reply, flags=re.DOTALL)
    try:
        value = json.loads(fenced[1] if fenced else reply)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and keys <= value.keys()


def _bullets(reply: str, check: Mapping[str, Any]) -> bool:
    lines = _filled(reply)
    return len(lines) == check["exactly"] and all(re.match(r"[-*•]\s+\S", line) for line in lines)


def _lines(reply: str, check: Mapping[str, Any]) -> bool:
    return len(_filled(reply)) == check["exactly"]


def _verbatim(reply: str, check: Mapping[str, Any]) -> bool:
    return reply == check["answer"].strip()


def _number(reply: str, check: Mapping[str, Any]) -> bool:
    return last_number(reply) == float(check["answer"])


def last_number(text: str) -> float | None:
    """Returns the last number of a text; None where there is none."""
    numbers = _NUMBER.findall(_GROUPED.sub("", text).replace("−", "-"))
    return float(numbers[-1]) if numbers else None


def _filled(reply: str) -> list[str]:
    return [line.strip() for line in reply.splitlines() if line.strip()]


_CHECKS: dict[Any, Callable[[str, Mapping[str, Any]], bool]] = {
    "capitals": _capitals,
    "lower_case": _lower_case,
    "quotes": _quotes,
    "words": _words,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "lacks": _lacks,
    "no_comma": _no_comma,
    "json": _json,
    "bullets": _bullets,
    "lines": _lines,
    "verbatim": _verbatim,
    "number": _number,
}


def score_reply(reply: str, check: dict) -> bool:
    """Tells whether a reply passes its item's check.

    Args:
        reply: What the LLM wrote, without special tokens.
        check: ``type`` and what belongs to it; letter case, punctuation and spacing do not count except in ``regex``.

            * ``exact`` with ``answer``: the reply is the answer.
            * ``contains`` with ``any``: one of these phrases stands in the reply, as whole words.
            * ``contains`` with ``all``: every phrase does.
            * ``choice`` with ``answer`` and ``options``: of all options the answer is the one named first.
            * ``regex`` with ``pattern``: the pattern is found in the stripped reply.

    Raises:
        VTBError: The check's type is unknown or a key of it is missing.
    """
    kind = check.get("type")
    try:
        if kind == "exact":
            return plain_words(reply) == plain_words(check["answer"])
        if kind == "contains" and "all" in check:
            return all(phrase_place(reply, phrase) >= 0 for phrase in check["all"])
        if kind == "contains":
            return any(phrase_place(reply, phrase) >= 0 for phrase in check["any"])
        if kind == "choice":
            places = {option: phrase_place(reply, option) for option in check["options"]}
            named = [option for option in places if places[option] >= 0]
            answer = check["answer"]
            return bool(named) and min(named, key=places.__getitem__) == answer
        if kind == "regex":
            return re.search(check["pattern"], reply.strip()) is not None
    except KeyError as missing:
        raise VTBError(f"a text suite check of type {kind!r} lacks its key {missing}") from None
    raise VTBError(f"unknown text suite check {kind!r}; use exact, contains, choice or regex")


def plain_words(text: str) -> str:
    """Returns the words of ``text`` in lower case, one space apart; decimals and apostrophes stay whole.

    Of scripts that are written without spaces, as Chinese, every character is one.
    """
    return " ".join(split_words(text, inside=".,'"))


def phrase_place(text: str, phrase: str) -> int:
    """Returns where ``phrase`` stands in ``text`` as whole words, or -1."""
    return f" {plain_words(text)} ".find(f" {plain_words(phrase)} ")
