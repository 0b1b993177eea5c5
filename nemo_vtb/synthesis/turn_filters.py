"""Why a generated turn is unfit for training, and which conversations say the same."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

_META = re.compile(
    r"smollm|hugging ?face|language model|\bas an ai\b|ai assistant|chatbot|system prompt|user message|\bthe user\b"
    r"|here to (help|assist)|i'm ready to|https?:|www\."
    r"|\b(previous|above|following|this) (\w+ )?(query|question|message|response|answer)\b",
    re.IGNORECASE,
)


def text_fault(text: str) -> str | None:
    """Returns the name of what makes a turn of either side unfit, or ``None``.

    ``empty`` has no letter or digit, ``special_token`` shows markup of a template, ``code`` holds a code block,
    ``layout`` an open quotation, ``meta`` talks about the chat itself, ``language`` is not mostly ASCII letters and
    digits, ``repetition`` loops.
    """
    solid = re.sub(r"\s", "", text)
    if not re.search(r"[A-Za-z0-9]", solid):
        return "language" if solid and not solid.isascii() else "empty"
    if re.search(r"<\|?\w+\|?>", text):
        return "special_token"
    if "```" in text:
        return "code"
    if text.count('"') % 2:
        return "layout"
    if _META.search(text):
        return "meta"
    if sum(char.isascii() for char in solid) < 0.97 * len(solid):
        return "language"
    if sum(char.isascii() and char.isalnum() for char in solid) < 0.7 * len(solid):
        return "language"
    return "repetition" if is_looping(text) else None


def is_looping(text: str) -> bool:
    """Tells whether words run in a loop: one word four times on end, three words three times, or six words twice."""
    words = re.findall(r"\w+", text.lower())
    if re.search(r"\b(\w+)( \1){3}\b", " ".join(words)):
        return True
    return any(
        max(Counter(zip(*(words[i:] for i in range(length)), strict=False)).values(), default=0) >= times
        for length, times in ((3, 3), (6, 2))
    )


def words_of(text: str) -> frozenset[str]:
    """Returns the distinct words of ``text``, lower case; two turns with the same words count as the same turn."""
    return frozenset(re.findall(r"\w+", text.lower()))


def without_duplicates(rows: Iterable[dict], overlap: float = 0.7) -> tuple[list[dict], int]:
    """Keeps conversations whose first turn is new.

    Args:
        rows: Conversations in the order of preference.
        overlap: Jaccard overlap of two turns' words from which the later row counts as a duplicate.

    Returns:
        The rows kept and how many were dropped.
    """
    kept, dropped = [], 0
    keys: list[Any] = []
    for row in rows:
        key = words_of(row["conversations"][0]["value"])
        if any(len(key & other) >= overlap * len(key | other) for other in keys):
            dropped += 1
        else:
            kept.append(row)
            keys.append(key)
    return kept, dropped
