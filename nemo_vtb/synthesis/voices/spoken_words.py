"""How what is not a word is read aloud, language by language; numbers, money and units come from libraries."""

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SpokenWords:
    """What a language says for marks and short forms.

    Attributes:
        number: A number as it is written: thousands in groups, decimals.
        thousands: What stands between groups of digits.
        decimal: What may stand before decimals.
        and_: For ``&``.
        to: Between the ends of a range.
        clock: Between hours and minutes.
        one: The number 1 before a unit.
        ordinal: What follows the digits of an ordinal; a group ``f`` marks the feminine.
        magnitudes: Words for large numbers that may stand behind an amount of money.
        short: Short forms with their full stop and what is said for them.
        years: Digits that are read as a year; None where years are read like any number.
    """

    number: str
    thousands: str
    decimal: str
    and_: str
    to: str
    clock: str
    one: str
    ordinal: str
    magnitudes: str
    short: dict[str, str] = field(default_factory=dict)
    years: str | None = None


_POINTS = r"\d{1,3}(?:\.\d{3})+(?:,\d+)?|\d+(?:[.,]\d+)?"
_ROMANCE_ORDINAL = r"\.?(?:º|°|(?P<f>ª))"

WORDS = {
    "en": SpokenWords(
        number=r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?",
        thousands=",",
        decimal=".",
        and_="and",
        to="to",
        clock=" ",
        one="one",
        ordinal=r"(?:st|nd|rd|th)\b",
        magnitudes="thousand|million|billion|trillion",
        short={
            "Mr.": "Mister",
            "Mrs.": "Missus",
            "Ms.": "Miss",
            "Dr.": "Doctor",
            "Prof.": "Professor",
            "vs.": "versus",
            "etc.": "et cetera",
            "e.g.": "for example",
            "i.e.": "that is",
            "approx.": "approximately",
        },
        years=r"1[1-9]\d\d|20\d\d",
    ),
    "es": SpokenWords(
        number=_POINTS,
        thousands=".",
        decimal=".,",
        and_="y",
        to="a",
        clock=" y ",
        one="un",
        ordinal=_ROMANCE_ORDINAL,
        magnitudes="mil|millones|millón",
        short={
            "Sr.": "señor",
            "Sra.": "señora",
            "Dr.": "doctor",
            "Dra.": "doctora",
            "Ud.": "usted",
            "Uds.": "ustedes",
            "p. ej.": "por ejemplo",
            "etc.": "etcétera",
            "EE. UU.": "Estados Unidos",
        },
    ),
    "fr": SpokenWords(
        number=r"\d{1,3}(?:[ .]\d{3})+(?:,\d+)?|\d+(?:[.,]\d+)?",
        thousands=" .",
        decimal=".,",
        and_="et",
        to="à",
        clock=" heures ",
        one="un",
        ordinal=r"(?:ers?|(?P<f>re)|es?|[èe]mes?)\b",
        magnitudes="mille|millions?|milliards?",
        short={
            "M.": "monsieur",
            "MM.": "messieurs",
            "Mme": "madame",
            "Mlle": "mademoiselle",
            "Dr": "docteur",
            "p. ex.": "par exemple",
            "etc.": "et cetera",
        },
    ),
    "it": SpokenWords(
        number=_POINTS,
        thousands=".",
        decimal=".,",
        and_="e",
        to="a",
        clock=" e ",
        one="un",
        ordinal=_ROMANCE_ORDINAL,
        magnitudes="mila|milion[ei]|miliard[oi]",
        short={
            "Sig.": "signor",
            "Sig.ra": "signora",
            "Dott.": "dottor",
            "Prof.": "professor",
            "es.": "esempio",
            "ecc.": "eccetera",
        },
    ),
    "pt": SpokenWords(
        number=_POINTS,
        thousands=".",
        decimal=".,",
        and_="e",
        to="a",
        clock=" e ",
        one="um",
        ordinal=_ROMANCE_ORDINAL,
        magnitudes="mil|milhões|milhão",
        short={
            "Sr.": "senhor",
            "Sra.": "senhora",
            "Dr.": "doutor",
            "Dra.": "doutora",
            "p. ex.": "por exemplo",
            "etc.": "et cetera",
        },
    ),
    "de": SpokenWords(
        number=_POINTS,
        thousands=".",
        decimal=".,",
        and_="und",
        to="bis",
        clock=" Uhr ",
        one="ein",
        # A full stop makes an ordinal and ends a sentence; which one, only a grammar knows.
        ordinal=r"(?!)",
        magnitudes="Tausend|Millionen|Million|Milliarden?",
        short={
            "z. B.": "zum Beispiel",
            "z.B.": "zum Beispiel",
            "d. h.": "das heißt",
            "d.h.": "das heißt",
            "usw.": "und so weiter",
            "bzw.": "beziehungsweise",
            "ca.": "circa",
            "Dr.": "Doktor",
            "Prof.": "Professor",
        },
        years=r"1[1-9]\d\d",
    ),
}

# Symbols behind a number and what CLDR calls the unit.
UNITS = {
    "%": "percent",
    "°C": "celsius",
    "°F": "fahrenheit",
    "°": "degree",
    "km/h": "kilometer-per-hour",
    "m/s": "meter-per-second",
    "mph": "mile-per-hour",
    "km": "kilometer",
    "cm": "centimeter",
    "mm": "millimeter",
    "m": "meter",
    "m²": "square-meter",
    "km²": "square-kilometer",
    "mi": "mile",
    "ft": "foot",
    "kg": "kilogram",
    "mg": "milligram",
    "g": "gram",
    "lbs": "pound",
    "lb": "pound",
    "oz": "ounce",
    "ml": "milliliter",
    "mL": "milliliter",
    "L": "liter",
    "l": "liter",
    "ms": "millisecond",
    "s": "second",
    "min": "minute",
    "h": "hour",
    "kB": "kilobyte",
    "KB": "kilobyte",
    "MB": "megabyte",
    "GB": "gigabyte",
    "TB": "terabyte",
    "Hz": "hertz",
    "kHz": "kilohertz",
    "MHz": "megahertz",
    "GHz": "gigahertz",
    "W": "watt",
    "kW": "kilowatt",
    "kWh": "kilowatt-hour",
    "V": "volt",
}
MONEY = {"$": "USD", "US$": "USD", "USD": "USD", "€": "EUR", "EUR": "EUR", "£": "GBP", "GBP": "GBP"}


def any_of(symbols: dict[str, str]) -> str:
    """Returns a pattern of any of them, the longest first."""
    return "|".join(map(re.escape, sorted(symbols, key=len, reverse=True)))
