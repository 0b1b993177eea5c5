"""Reading a report whose keys may be missing, and writing its numbers for people."""

import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

MISSING = "–"
_UNITS = {"total_tokens": "LLM positions", "examples": "conversations", "steps": "steps"}


def unit_of(report: Mapping[str, Any]) -> str:
    """Returns what the shares of the blend are shares of, in words."""
    return _UNITS.get(str(report.get("share_unit")), "supervised tokens")


def language(code: str) -> str:
    """Returns the English name of a language code, as Unicode has it, or the code where there is none."""
    from babel import Locale

    return Locale("en").languages.get(code.replace("-", "_"), code)


def section(report: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Returns the mapping under ``keys``, empty where there is none."""
    found: Any = report
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def number(values: Mapping[str, Any], key: str) -> float | None:
    """Returns the number under ``key``, or None where there is none; it need not be finite."""
    value = values.get(key)
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else None


def before_after(values: Mapping[str, Any], prefix: str = "") -> tuple[float, float] | None:
    """Returns ``(<prefix>before, <prefix>after)`` where both are finite numbers, else None."""
    before, after = number(values, f"{prefix}before"), number(values, f"{prefix}after")
    if before is None or after is None or not (math.isfinite(before) and math.isfinite(after)):
        return None
    return before, after


def above(value: float | None, limit: float | None) -> bool:
    """Whether ``value > limit``; False where either is missing."""
    return value is not None and limit is not None and value > limit


def percent(fraction: float | None) -> str:
    """Writes a fraction as a percentage, below 10% with a decimal where there is one."""
    if fraction is None:
        return MISSING
    if not math.isfinite(fraction):
        return "not a number"
    return f"{round(100 * fraction, 1 if abs(fraction) < 0.0995 else 0):g}%"


def decimal(value: float | None) -> str:
    """Writes a loss or a divergence with three significant digits."""
    if value is None:
        return MISSING
    return f"{value:.3g}" if math.isfinite(value) else "not a number"


def points(change: float) -> str:
    """Writes a change of a fraction in percentage points, with its sign."""
    rounded = round(100 * change, 1 if abs(change) < 0.0995 else 0)
    if rounded == 0:
        return "no change"
    sign = "+" if rounded > 0 else "−"
    return f"{sign}{abs(rounded):g} point{'' if abs(rounded) == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Writes a time in the two largest units that count."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def in_columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Returns a line of each row of cells, the columns two spaces apart."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def listed(items: list[str]) -> str:
    """Joins items as a sentence does: ``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
