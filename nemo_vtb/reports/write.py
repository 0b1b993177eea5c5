"""Writes what was measured: ``report.json`` for programs and ``report.html`` for people."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from nemo_vtb.whole_files import write_text

# Draws a page from a report, samples to look at, and the JSON as it was written.
Render = Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]], str], str]


def write_both(report: Mapping[str, Any], folder: Path, render: Callable[[str], str], name: str = "report") -> None:
    """Writes ``report.json`` with the keys in their order, and ``report.html``.

    Args:
        report: Any nesting of mappings, lists and numbers.
        folder: Where to write; made if missing.
        render: Makes the page; it gets the JSON as it was written.
        name: Of both files, in the place of ``report``.
    """
    text = write_json(report, folder, name)
    write_text(folder / f"{name}.html", render(text))


def write_json(report: Mapping[str, Any], folder: Path, name: str) -> str:
    """Writes ``<name>.json`` alone, and returns what it holds; see ``write_both``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_plain(report), indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    write_text(folder / f"{name}.json", text)
    return text


def _plain(value: Any) -> Any:
    """Returns ``value`` with NumPy scalars as Python numbers and numbers that are not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    return value
