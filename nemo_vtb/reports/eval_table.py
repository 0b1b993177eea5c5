"""The table ``vtb eval`` prints."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from nemo_vtb.reports.eval_rows import PERCENT, PLAIN, POINTS, Row, rows_of
from nemo_vtb.reports.figures import MISSING

TITLES = {
    "asr": "Speech recognition",
    "ast": "Speech translation",
    "sqa": "Questions about speech",
    "mixed": "Written and spoken prompts",
    "multiturn": "Several turns",
    "text": "Text alone",
    "probes": "What no data teaches",
}
_HEAD = ("", "", "checkpoint", "untouched LLM", "difference", "n")


def table_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines: a score with its 95 % interval, the untouched LLM's, the difference and the number of items."""
    rows = rows_of(report)
    cells = [
        (row.name, row.measure, scored(row.tuned, row.unit), scored(row.base, row.unit), changed(row), _items(row))
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(_HEAD, *cells, strict=True)]
    yield _line(_HEAD, widths)
    last = ""
    for row, line in zip(rows, cells, strict=True):
        if row.section != last:
            yield f"\n{TITLES[row.section]}"
            if row.section == "sqa" and "judge" in report:
                yield trust(report["judge"])
            last = row.section
        yield _line(line, widths)
    if gate := report.get("gate"):
        yield f"\nGate: {'passed' if gate['passed'] else 'FAILED'}"


def trust(judge: Mapping[str, Any]) -> str:
    """Says in a line who judged and how far to trust it."""
    found = judge["agreement"]
    left_out = f"; {len(judge['not_judged'])} replies of the judge not usable" if judge["not_judged"] else ""
    return (
        f"(judge: {judge['llm']['model']}, {judge['prompt']['version']}; of {found['kappa']['n']} labelled answers "
        f"{scored(found['accuracy'], PERCENT)} % judged alike, Cohen's kappa {scored(found['kappa'], PLAIN)}, "
        f"redundancy off by {scored(found['mae'], PLAIN)}{left_out})"
    )


def scored(score: Mapping[str, Any], unit: str) -> str:
    """Writes a score with its interval."""
    if not score:
        return MISSING
    return f"{_number(score['value'], unit)} [{_number(score['low'], unit)}, {_number(score['high'], unit)}]"


def changed(row: Row) -> str:
    """Writes a difference with its interval and signs."""
    if not row.change:
        return ""
    value, low, high = (_number(row.change[key], row.unit, signed=True) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _number(value: float | None, unit: str, signed: bool = False) -> str:
    if value is None or not math.isfinite(value):
        return MISSING
    sign = "+" if signed else ""
    shown = {PERCENT: f"{100 * value:{sign}.1f}", POINTS: f"{value:{sign}.1f}", PLAIN: f"{value:{sign}.3f}"}[unit]
    if not float(shown):
        return sign + shown.lstrip("+-")
    return shown.replace("-", "−")


def _items(row: Row) -> str:
    return str(row.tuned["n"])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells[:-1], widths, strict=False)]
    return "  ".join(["", *padded, cells[-1].rjust(widths[-1])])
