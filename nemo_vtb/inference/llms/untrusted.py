"""Text by others, made fit to stand in a prompt: data that cannot pass for anything else."""

import re
import unicodedata

OPEN, CLOSE = "<transcript>", "</transcript>"
# Chat templates and our own delimiters are written with these; whatever stands in a transcript is not.
_HARMLESS = str.maketrans("<>[]", "‹›()")
# Joiners are letters' business in Persian and Hindi.
_KEPT = "\u200c\u200d"


def quoted(text: str, most: int) -> str:
    """Returns a text between delimiters that cannot stand in it, nor can a special token of any chat template.

    Args:
        text: Whatever somebody wrote.
        most: Most characters of it; longer ones end with the last whole word, and an ellipsis.
    """
    return f"{OPEN}{plain(text, most)}{CLOSE}"


def plain(text: str, most: int) -> str:
    """Returns a text on one line, without control and formatting characters and without brackets in ASCII."""
    # First, so that nothing becomes a bracket later on.
    text = unicodedata.normalize("NFKC", text)
    visible = "".join(
        char if char in _KEPT or not unicodedata.category(char).startswith("C") else " " for char in text
    ).translate(_HARMLESS)
    line = re.sub(r"\s+", " ", visible).strip()
    if len(line) <= most:
        return line
    cut = line[:most]
    return (cut.rpartition(" ")[0] or cut) + "…"
