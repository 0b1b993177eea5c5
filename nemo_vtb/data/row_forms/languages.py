"""Languages as rows name them: BCP 47 tags with regions and scripts, three letters, English names, YAML's ``no``.

Names of languages and the aliases of their codes are Unicode's (CLDR), as Babel carries them.
"""

from functools import cache
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.core import get_global

from nemo_vtb.data.files.rows import BadRow

# ISO 639's codes for what is no one language, and what programs write that were to find it out.
_NONE = ("und", "mul", "mis", "zxx", "auto", "unknown", "multilingual", "none", "null", "n/a")
# Languages that write an i without a dot: its capital has none either.
_DOTLESS = ("tr", "az", "crh", "gag")


def language_tag(value: Any) -> str | None:
    """Returns a language as text: YAML and JSON made of it read Norway's ``no`` as false. None where it is none."""
    if value is False:
        return "no"
    tag = value.strip() if isinstance(value, str) else ""
    return tag if tag and tag.lower() not in _NONE else None


def named_language(name: str, value: Any) -> str | None:
    """Returns the language that a field names.

    Args:
        name: The field.
        value: What stands in it; null, an empty text and an empty list name none.

    Raises:
        BadRow: If it is no text.
    """
    if value is None:
        return None
    if not isinstance(value, str) and value is not False and value not in ([], {}):
        raise BadRow("missing language", f"'{name}' is {str(value)[:40]!r}, not the tag of a language")
    return language_tag(value)


@cache
def canonical(tag: str) -> str:
    """Returns a tag in the usual spelling: ``en_us`` is ``en-US``, ``eng`` ``en``, ``cmn_hans_cn`` ``zh-Hans-CN``.

    What is no tag stays as it is, in lower case; an English name of a language becomes its tag.
    """
    first, *rest = tag.strip().replace("_", "-").split("-")
    code = first.lower()
    known = get_global("language_aliases").get(code, code).partition("_")[0]
    if not _is_code(known):
        return _by_name().get(tag.strip().lower().replace("_", " "), "-".join([code, *rest]).lower())
    parts = [known]
    for part in rest:
        parts.append(part.title() if len(part) == 4 and part.isalpha() else part.upper() if len(part) < 4 else part)
    return "-".join(parts)


def base_language(tag: str) -> str:
    """Returns the language of a tag without script and region: ``en`` for ``en-US``."""
    return canonical(tag).partition("-")[0]


def spellings(tag: str) -> list[str]:
    """Returns under which keys a table may have a language, the closest first: as written, the tag, without region."""
    full = canonical(tag)
    parts = full.split("-")
    script = [f"{parts[0]}-{part}" for part in parts[1:2] if len(part) == 4]
    return list(dict.fromkeys((tag, full, *script, parts[0])))


@cache
def language_name(tag: str, language: str = "en") -> str | None:
    """Returns the name of a language in another: ``Swedish`` for ``sv-SE``; None where Unicode has none.

    The region is left out; a script that is written down is named.
    """
    names, parts = _names(base_language(language)), canonical(tag).split("-")
    script = [f"{parts[0]}_{part}" for part in parts[1:2] if len(part) == 4]
    return next((names[key] for key in (*script, parts[0]) if key in names), None)


def lower(text: str, tag: str | None) -> str:
    """Returns a text in lower case, as its language writes it: Turkish I without a dot is ı, İ with one is i."""
    if tag is not None and base_language(tag) in _DOTLESS:
        text = text.replace("I\u0307", "i").replace("\u0130", "i").replace("I", "\u0131")
    # Python writes İ as an i with a second dot upon it, in every language: a spelling that none has.
    return text.replace("\u0130", "i").lower()


def upper(text: str, tag: str | None) -> str:
    """Returns a text in upper case, as its language writes it."""
    if tag is not None and base_language(tag) in _DOTLESS:
        text = text.replace("i", "\u0130")
    return text.upper()


def _is_code(code: str) -> bool:
    return code in _names("en") or code in get_global("likely_subtags")


@cache
def _names(language: str) -> dict[str, str]:
    try:
        return dict(Locale.parse(language).languages)
    except (UnknownLocaleError, ValueError):
        return {}


@cache
def _by_name() -> dict[str, str]:
    return {name.lower(): code.replace("_", "-") for code, name in reversed(_names("en").items())}
