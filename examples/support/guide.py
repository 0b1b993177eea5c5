"""What both matrices write: their JSON, and their tables in the guides."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OUTCOMES = ("proved", "refused", "wrong")


def counts(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many rows ended how."""
    return {outcome: sum(row["outcome"] == outcome for row in rows) for outcome in OUTCOMES}


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Writes a report with the versions of what it was made with."""
    from importlib.metadata import version

    names = ("torch", "transformers", "peft", "torchao", "nemo_toolkit")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**report, "versions": {name: version(name) for name in names}}, indent=1)
    path.write_text(f"{text}\n", encoding="utf-8")


def replace_table(path: Path, mark: str, table: str) -> None:
    """Puts a table between the two lines of a guide that hold a mark."""
    before, _, rest = path.read_text(encoding="utf-8").partition(mark)
    path.write_text(f"{before}{mark}\n\n{table.strip()}\n\n{mark}{rest.partition(mark)[2]}", encoding="utf-8")
