"""Text that nobody sees: characters without a glyph, in which other words may be hidden."""

import unicodedata
from collections.abc import Iterator

# Without a glyph of their own though Unicode files them as letters, marks or symbols.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
_JOINERS = "\u200c\u200d"
_BREAKS = frozenset("\n\t\r")
_FLAG = "\U0001f3f4"


def has_text(text: str) -> bool:
    """Whether there is anything to see."""
    if text[:1].isascii() and text[:1].isalnum():
        return True
    return any(not character.isspace() and not _invisible(character) for character in text)


def invisible(text: str) -> Iterator[str]:
    """Yields the characters of a text that nobody sees and that its script does not need.

    Joiners within words and emoji, the marks of a script's direction, soft hyphens and the tags of a flag are needed.
    """
    if text.isascii() and text.isprintable():
        return
    flag, selectors = False, 0
    for index, character in enumerate(text):
        flag = character == _FLAG or (flag and _is_tag(character))
        selectors = selectors + 1 if _is_selector(character) else 0
        if selectors:  # one behind a visible character chooses its glyph
            hidden = selectors > 1 or not text[index - 1 : index].strip()
        else:
            hidden = _invisible(character) and not flag and not _needed(text, index)
        if hidden:
            yield character


def _needed(text: str, index: int) -> bool:
    character = text[index]
    if character in "\u00ad\u200e\u200f\u061c" or character in _BREAKS:
        return True
    around = text[index - 1 : index], text[index + 1 : index + 2]
    return character in _JOINERS and all(side and not side.isspace() and not side.isascii() for side in around)


def _invisible(character: str) -> bool:
    if character in _BREAKS:
        return False
    if character in _BLANK or unicodedata.category(character) in ("Cf", "Cc", "Co", "Cn"):
        return True
    return _is_selector(character)


def _is_selector(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _is_tag(character: str) -> bool:
    return 0xE0020 <= ord(character) <= 0xE007F
