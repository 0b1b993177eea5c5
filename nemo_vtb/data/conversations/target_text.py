"""What a target looks like when an instruction asks for it: with or without punctuation, with or without capitals."""

import re
import unicodedata

from nemo_vtb.data.row_forms.languages import lower, upper

# Unicode files these under punctuation, but people say them.
_SPOKEN = frozenset("%‰‱٪؉؊&@#§¶*\\％＆＠＃＊﹪﹠﹫﹟")
# Part of a word between letters: apostrophes, hyphens, the Catalan dot, Hebrew's geresh and gershayim, Tibetan's tsheg.
_IN_WORDS = frozenset("'’‛՚＇-‐‑·‧׳״་")
_IN_NUMBERS = frozenset(".,:/٫٬’'")
_NO_MARKS = re.compile(r"[A-Za-z0-9 ]*")
_MINUS = frozenset("-‐‑−–")
# Behind everything else these belong to no word and to no number.
_LAST = tuple(".?!")
# Stands where punctuation was: a noncharacter of Unicode, which no text has.
_GONE = "\ufdd1"
_UNSPACED = "[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_BETWEEN_UNSPACED = re.compile(rf"(?<={_UNSPACED}){_GONE}+(?={_UNSPACED})")


def has_punctuation(text: str) -> bool:
    """Returns whether a text is punctuated; what belongs to a word or a number or is said does not count."""
    if _NO_MARKS.fullmatch(text):
        return False
    return text[-1:] in _LAST or without_punctuation(text) != " ".join(text.split())


def has_capitals(text: str, language: str | None = None) -> bool:
    """Returns whether a text has upper case; all of it in upper case, as old transcripts have it, does not count.

    Args:
        text: Any text.
        language: Its tag, where somebody knows: an i is no capital of the same letter everywhere.
    """
    return text != lower(text, language) and text != upper(text, language)


def without_punctuation(text: str) -> str:
    """Removes punctuation and joins words by single spaces.

    Where Chinese and Japanese are written without spaces, none takes its place.
    Apostrophes and hyphens between letters stay (don't, twenty-one), as do what stands between digits (3.5, 10:30), a
    minus before a number, and signs that are said: per cent, ampersand, at, hash, paragraph, asterisk.
    """
    if _NO_MARKS.fullmatch(text):
        return " ".join(text.split())
    kept: list[str] = []
    for index, character in enumerate(text):
        if unicodedata.category(character).startswith("P") and character not in _SPOKEN:
            before, after = text[index - 1 : index], text[index + 1 : index + 2]
            inside_word = character in _IN_WORDS and _letter(before) and _letter(after)
            inside_number = character in _IN_NUMBERS and before.isdigit() and after.isdigit()
            minus = character in _MINUS and after.isdigit() and not before.strip()
            kept.append(character if inside_word or inside_number or minus else _GONE)
        else:
            kept.append(character)
    return " ".join(_BETWEEN_UNSPACED.sub("", "".join(kept)).replace(_GONE, " ").split())


def _letter(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character or " ").startswith("M")
