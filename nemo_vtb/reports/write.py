"""Writes what a run measured: ``report.json`` for programs and ``report.html`` for people."""

import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from nemo_vtb.pages.quickstart import render_page

# The order of the top-level keys in the file; keys that are not named here follow by name.
KEY_ORDER = (
    "seconds",
    "stages",
    "loss",
    "wer",
    "sqa",
    "mixed",
    "text",
    "realised_share",
    "asked_share",
    "padding_share",
    "history",
    "environment",
)


def write_report(report: dict[str, Any], folder: Path, samples: list[dict[str, Any]]) -> None:
    """Writes ``report.json`` and ``report.html``, each replaced at once or left as it was.

    The JSON is written first, so that it is there even where the page cannot be drawn. A number that is not finite
    becomes ``null`` in it; the page names it.

    Args:
        report: What was measured; every key may be missing. Shares, word error rates and accuracies are fractions,
            times are seconds, losses and ``text.kl_to_base`` are nats per token.
        folder: Where to write; made if missing.
        samples: Rows with ``kind``, ``prompt`` (the clip shown as ♪), ``audio`` (path or None), ``reference``,
            ``before``, ``after``, ``correct_before`` and ``correct_after`` (True, False, or None: not scored).

    Raises:
        VTBError: If matplotlib is not installed.
    """
    write_both(_ordered(report), folder, lambda text: render_page(report, samples, raw_json=text))


def write_both(report: Mapping[str, Any], folder: Path, render: Callable[[str], str], name: str = "report") -> None:
    """Writes ``report.json`` with the keys in their order, and ``report.html``.

    Args:
        report: Any nesting of mappings, lists and numbers.
        folder: Where to write; made if missing.
        render: Makes the page; it gets the JSON as it was written.
        name: Of both files, in the place of ``report``.
    """
    text = write_json(report, folder, name)
    _replace(folder / f"{name}.html", render(text))


def write_json(report: Mapping[str, Any], folder: Path, name: str) -> str:
    """Writes ``<name>.json`` alone, and returns what it holds; see ``write_both``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_plain(report), indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"
    _replace(folder / f"{name}.json", text)
    return text


def _ordered(report: Mapping[str, Any]) -> dict[str, Any]:
    known = [key for key in KEY_ORDER if key in report]
    return {key: report[key] for key in [*known, *sorted(set(report) - set(KEY_ORDER))]}


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


def _replace(path: Path, text: str) -> None:
    """Writes through a temporary file in the same folder, so that no reader ever sees half a file."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        # mkstemp makes files that only their owner may read, and a report is meant to be shared.
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
