"""Writes what the quickstart measured: ``report.json`` for programs and ``report.html`` for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemo_vtb.pages.quickstart import render_page
from nemo_vtb.reports.write import write_both

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
        report: What was measured, in the units of ``nemo_vtb.reports``; every key may be missing.
        folder: Where to write; made if missing.
        samples: Rows with ``kind``, ``prompt`` (the clip shown as ♪), ``audio`` (path or None), ``reference``,
            ``before``, ``after``, ``correct_before`` and ``correct_after`` (True, False, or None: not scored).

    Raises:
        VTBError: If matplotlib is not installed.
    """
    write_both(_ordered(report), folder, lambda text: render_page(report, samples, raw_json=text))


def _ordered(report: Mapping[str, Any]) -> dict[str, Any]:
    known = [key for key in KEY_ORDER if key in report]
    return {key: report[key] for key in [*known, *sorted(set(report) - set(KEY_ORDER))]}
