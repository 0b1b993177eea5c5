"""Text made speakable: numbers, money, percentages, units and short forms in words; what nobody reads aloud, refused.

Code, tables, formulas, addresses, placeholders and emoji stay as text. Numbers come from num2words, units from CLDR
through Babel.
"""

import re
import unicodedata
from functools import lru_cache
from importlib import import_module
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.voices.spoken_words import MONEY, UNITS, WORDS, SpokenWords, any_of

# Parts of a turn that are for the eye, wherever its sentences end.
_FOR_THE_EYE = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`|\$\$.*?\$\$|\\\[.*?\\\]|\\\(.*?\\\)|<(\w+)[^>\n]*>.*?</\1>"
    r"|^[ \t]*\|.*\|[ \t]*$",
    re.DOTALL | re.MULTILINE,
)
_ADDRESS = re.compile(
    r"\w+://|\bwww\.|\S@\S|[\w-]+\.(?:com|org|net|io|gov|edu|py|js|ts|html?|css|json|csv|txt|pdf|png|jpe?g|exe|sh)\b",
    re.IGNORECASE,
)
# Dates, sums, versions and telephone numbers are read in too many ways; a space for a name is not read at all.
_NOT_READ = re.compile(
    r"\d\s*[/×x÷*^=<>]\s*\d|\d+([\-/])\d+\1\d+|(?!\d{1,3}(?:\.\d{3})+(?!\d))\b\d+\.\d+\.\d+|\d:\d+:\d"
    r"|\(?\d{3}\)?[ -]\d{3}-\d{4}|\b\d{3}-\d{4}\b|\d{8,}|__|\.{4}"
)
_MARKDOWN = re.compile(r"^\s*(?:#{1,6}|[-*+•]|>+)\s+|(?<!\w)([*_]{1,3})(?=\S)|(?<=\S)[*_]{1,3}(?!\w)", re.MULTILINE)
_QUOTES = str.maketrans(dict.fromkeys('"“”„«»‹›', " ") | {"’": "'", "‘": "'", "…": "...", "‐": "-", "‑": "-"})
_PUNCTUATION = frozenset(" ,.?!;:'-¿¡")


def for_the_eye(text: str) -> list[tuple[int, int]]:
    """Returns the characters of a turn that are code, a formula, markup or a row of a table."""
    return [match.span() for match in _FOR_THE_EYE.finditer(text)]


def spoken_form(text: str, language: str) -> str | None:
    """Returns what a voice says for a sentence.

    Args:
        text: A sentence as it is written.
        language: ISO 639-1 code. Languages without rules here have only sentences of letters and punctuation spoken.

    Returns:
        Words and punctuation, or None where the sentence is not to be read aloud.

    Raises:
        VTBError: If the libraries for numbers are not installed.
    """
    if _ADDRESS.search(text) or _NOT_READ.search(text):
        return None
    text = _MARKDOWN.sub("", unicodedata.normalize("NFC", text).translate(_QUOTES))
    text = re.sub(r"\s+", " ", text).strip()
    words = WORDS.get(language)
    if words is not None:
        said = _Reader(language, words).read(text)
        if said is None:
            return None
        text = said
    text = re.sub(r"\s*[()]\s*|\s*[–—]\s*|\s+-\s+", ", ", text)
    text = re.sub(r"(?<=[^\W\d_])\s?/\s?(?=[^\W\d_])", " ", text)
    text = re.sub(r"(?:\s*,)+(?=\s*[,.?!;:]|\s*$)|^\s*[,;:.]+\s*", "", text)
    text = re.sub(r"\s+(?=[,.?!;:])", "", re.sub(r"\s+", " ", text)).strip()
    latin = words is not None
    readable = all(char in _PUNCTUATION or _is_letter(char, latin) for char in text)
    return text if readable and any(char.isalpha() for char in text) else None


def heard_form(text: str, language: str) -> str:
    """Returns what is left of a text to compare by ear: words, lower case, without accents and punctuation."""
    text = spoken_form(text, language) or text
    plain = "".join(char for char in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(char))
    return " ".join(re.sub(r"[^\w\s]|_", " ", plain.replace("'", "")).split())


def _is_letter(char: str, latin: bool) -> bool:
    if latin:
        return char.isalpha() and unicodedata.name(char, "").startswith("LATIN")
    return char.isalpha() or unicodedata.category(char) in ("Mn", "Mc")


class _Reader:
    """Reads the marks of one language."""

    def __init__(self, language: str, words: SpokenWords) -> None:
        self._language, self._words = language, words
        self._rules = _rules(language)

    def read(self, text: str) -> str | None:
        for pattern, name in self._rules:
            try:
                text = pattern.sub(getattr(self, name), text)
            except (NotImplementedError, OverflowError, ValueError):
                return None
        return text

    def short(self, match: re.Match[str]) -> str:
        said = self._words.short[match[0]]
        # A full stop that ended the sentence too is put back.
        return said + "." if match[0].endswith(".") and match.end() == len(match.string) else said

    def money(self, match: re.Match[str]) -> str:
        number, code = self._number(match["n1"] or match["n2"]), MONEY[match["m1"] or match["m2"]]
        if match["scale"]:
            # What two of them are called, without the two.
            name = _say(2.0, self._language, to="currency", currency=code, separator="|").split("|")[0].split(" ", 1)[1]
            of = " de " if self._language in ("es", "fr", "it", "pt") and match["scale"] != "mil" else " "
            return f"{_say(number, self._language)} {match['scale']}{of}{name}"
        if not float(number).is_integer():
            return _say(float(number), self._language, to="currency", currency=code)
        return _say(float(number), self._language, to="currency", currency=code, separator="|").split("|")[0]

    def clock(self, match: re.Match[str]) -> str:
        hours, minutes = int(match[1]), int(match[2])
        if hours > 24 or minutes > 59:
            raise ValueError(match[0])
        zero = "oh " if self._language == "en" and 0 < minutes < 10 else ""
        said = _say(hours, self._language)
        if minutes:
            return f"{said}{self._words.clock}{zero}{_say(minutes, self._language)}"
        if self._language == "en":
            return said if re.match(r"\s?[ap]\.?m\b", match.string[match.end() :], re.IGNORECASE) else f"{said} o'clock"
        return (said + self._words.clock).strip() if self._language in ("de", "fr") else said

    def unit(self, match: re.Match[str]) -> str:
        number = self._number(match[1])
        name = _unit(number, UNITS[match[2]], self._language)
        return f"{self._words.one if number == 1 else _say(number, self._language)} {name}"

    def ordinal(self, match: re.Match[str]) -> str:
        said = _say(int(match[1]), self._language, to="ordinal")
        if match.groupdict().get("f"):
            said = "première" if self._language == "fr" else re.sub(r"o\b", "a", said)
        return said

    def span(self, match: re.Match[str]) -> str:
        return f"{match[1]} {self._words.to} {match[2]}"

    def decade(self, match: re.Match[str]) -> str:
        said = _say(int(match[1]), self._language, to="year")
        return said[:-1] + "ies" if said.endswith("y") else said + "s"

    def minus(self, match: re.Match[str]) -> str:
        return f"{_say(-1, self._language).split()[0]} "

    def apart(self, match: re.Match[str]) -> str:
        return " "

    def number(self, match: re.Match[str]) -> str:
        written = match[0]
        if len(written) > 1 and written.startswith("0") and written.isdigit():
            return " ".join(_say(int(digit), self._language) for digit in written)
        if self._words.years and re.fullmatch(self._words.years, written):
            return _say(int(written), self._language, to="year")
        return _say(self._number(written), self._language)

    def hash(self, match: re.Match[str]) -> str:
        return "number "

    def ampersand(self, match: re.Match[str]) -> str:
        return f" {self._words.and_} "

    def _number(self, written: str) -> int | float:
        whole = re.fullmatch(rf"(\d{{1,3}}(?:[{re.escape(self._words.thousands)}]\d{{3}})+|\d+)(?:\D(\d+))?", written)
        if whole is None:
            raise ValueError(written)
        digits = re.sub(r"\D", "", whole[1])
        return float(f"{digits}.{whole[2]}") if whole[2] else int(digits)


@lru_cache
def _rules(language: str) -> list[tuple[re.Pattern[str], str]]:
    """Patterns in the order in which they apply, and the method that reads them."""
    words = WORDS[language]
    n, money = f"(?:{words.number})", any_of(MONEY)
    alone = r"(?<![\w.,])", r"(?![\w])"
    decades = [(rf"{alone[0]}(\d{{1,3}}0)'?s\b", "decade"), (r"#(?=\d)", "hash")] if language == "en" else []
    rules = [
        (rf"(?<!\w)(?:{any_of(words.short)})(?!\w)", "short"),
        (
            rf"(?<!\w)(?:(?P<m1>{money})\s?(?P<n1>{n})|(?P<n2>{n})\s?(?P<m2>{money}))"
            rf"(?:\s(?P<scale>{words.magnitudes})\b)?(?!\w)",
            "money",
        ),
        *decades,
        (rf"{alone[0]}(\d{{1,2}}):(\d\d)(?:\s?(?:Uhr|heures?|h))?{alone[1]}", "clock"),
        (r"(?<![\w.,-])-(?=\d)", "minus"),
        (rf"{alone[0]}({n})\s?({any_of(UNITS)})(?![\w/²³])", "unit"),
        (rf"{alone[0]}(\d+){words.ordinal}", "ordinal"),
        (rf"{alone[0]}({n})\s?[-–]\s?({n}){alone[1]}", "span"),
        (r"\s*&\s*", "ampersand"),
        (r"(?<=[^\W\d_])(?=\d)|(?<=[^\W\d_])-(?=\d)|(?<=\d)(?=[^\W\d_])", "apart"),
        (n, "number"),
    ]
    return [(re.compile(pattern), name) for pattern, name in rules]


def _say(number: float, language: str, **form: Any) -> str:
    return _library("num2words").num2words(number, lang=language, **form)


@lru_cache(maxsize=4096)
def _unit(number: float, unit: str, language: str) -> str:
    named = _library("babel.units").format_unit(number, unit, "long", locale=language)
    return re.sub(r"^[\d.,\s]+", "", named).replace("’", "'")


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise VTBError(
            f"numbers and units in words need {name.split('.')[0]}: pip install 'nemo-vtb[synth]'"
        ) from error
