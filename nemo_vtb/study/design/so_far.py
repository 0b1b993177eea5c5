"""What a run was asked before it was stopped: a measurement goes on behind its last finished set."""

import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tqdm import tqdm

from nemo_vtb.whole_files import write_rows, write_text

MEASURING = "measuring"
_TOOK = "took.json"


@dataclass(frozen=True)
class Part:
    """What is asked in one go.

    Attributes:
        name: Of the set or suite.
        form: How a mixed prompt is put; empty for all others.
        count: What the progress bar counts of it.
        ask: Moves the progress bar on and gives the rows, each of which stands for itself.
    """

    name: str
    form: str
    count: int
    ask: Callable[[Any], list[dict[str, Any]]]


class AskedSoFar:
    """Keeps the rows of each part in ``measuring`` of a run's folder until the run is finished.

    Args:
        folder: Of the run, whose settings and weights do not change.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / MEASURING
        took = self._folder / _TOOK
        before = json.loads(took.read_text(encoding="utf-8")) if took.exists() else {"seconds": 0.0, "cpu_seconds": 0.0}
        self._before: dict[str, float] = before
        self._began, self._cpu_began = time.monotonic(), time.process_time()

    def took(self) -> dict[str, float]:
        """``seconds`` and ``cpu_seconds`` of asking, those of earlier processes up to their last part included."""
        return {
            "seconds": round(self._before["seconds"] + time.monotonic() - self._began, 1),
            "cpu_seconds": round(self._before["cpu_seconds"] + time.process_time() - self._cpu_began, 1),
        }

    def rows(self, of_what: str, parts: Sequence[Part]) -> list[dict[str, Any]]:
        """The rows of all parts, in order; those that are kept are not asked again.

        Args:
            of_what: Name of the file they are for.
            parts: Told from one another by name and form.
        """
        folder = self._folder / of_what
        folder.mkdir(parents=True, exist_ok=True)
        rows: list[dict[str, Any]] = []
        with tqdm(total=sum(part.count for part in parts), unit="answer", smoothing=0.05) as bar:
            for part in parts:
                title = f"{part.name} {part.form}".rstrip()
                bar.set_description(title)
                kept = folder / f"{quote(title, safe='')}.jsonl"
                if kept.exists():
                    rows += map(json.loads, kept.read_text(encoding="utf-8").splitlines())
                    bar.update(part.count)
                    continue
                found = part.ask(bar)
                write_rows(kept, found)
                write_text(self._folder / _TOOK, json.dumps(self.took()) + "\n")
                rows += found
        return rows


def forget_answers(folder: Path) -> None:
    """Removes what is kept: the run is finished, or its settings are others now."""
    shutil.rmtree(folder / MEASURING, ignore_errors=True)
