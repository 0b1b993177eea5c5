"""Scoring of short verifiable replies: does the LLM still read and answer plain text as it did before?"""

import re

from nemo_vtb.errors import VTBError


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
    """Returns the words of ``text`` in lower case, one space apart; decimals and apostrophes stay whole."""
    return " ".join(re.findall(r"\w+(?:[.,']\w+)*", text.lower()))


def phrase_place(text: str, phrase: str) -> int:
    """Returns where ``phrase`` stands in ``text`` as whole words, or -1."""
    return f" {plain_words(text)} ".find(f" {plain_words(phrase)} ")
