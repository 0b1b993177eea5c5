"""The words of a text in any script: vowel signs stay with their letter, what is written without spaces is cut."""

import re
import unicodedata
from functools import cache

# Written without spaces between words, so that a character stands for a word: Thai and Lao, Burmese, Khmer, kana, Han.
_APART = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
# An apostrophe as keyboards, word processors and LLMs write it.
_APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼ", "'"))


def split_words(text: str, inside: str = "") -> list[str]:
    """Returns the words of a text in lower case, without punctuation.

    Python's own idea of a word ends at every vowel sign of Hindi or Tamil, and takes a Chinese sentence for one.

    Args:
        text: In any language.
        inside: Marks that may stand within a word, as in 3.5 and don't.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)
    return _pattern(inside).findall(plain.lower())


def characters_apart(text: str) -> str:
    """Returns a text with spaces around characters of scripts that are written without."""
    return _apart().sub(r" \g<0> ", text)


def stands_for_word(word: str) -> bool:
    """Whether a word is a character of a script that is written without spaces."""
    return _apart().match(word) is not None


@cache
def _marks() -> str:
    """Signs that are part of the letter before them: vowels of Indic scripts, accents without a letter."""
    return "".join(char for char in map(chr, range(0x300, 0x1F000)) if unicodedata.category(char) in ("Mn", "Mc"))


@cache
def _apart() -> re.Pattern[str]:
    return re.compile(rf"(?=\w)[{_APART}][{_marks()}]*")


@cache
def _pattern(inside: str) -> re.Pattern[str]:
    run = rf"(?:(?![{_APART}])[\w{_marks()}])+"
    joined = rf"(?:[{re.escape(inside)}]{run})*" if inside else ""
    return re.compile(rf"{_apart().pattern}|{run}{joined}")
