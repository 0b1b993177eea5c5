"""How far a run is, in a file that a shell can read: ``step max_steps`` beside its last checkpoint."""

import os
from pathlib import Path

PROGRESS_FILE = "progress"


def write_progress(folder: Path, step: int, max_steps: int) -> None:
    """Replaces the file in one move; it is written after the checkpoint it speaks of."""
    partial = folder / f".{PROGRESS_FILE}.partial"
    partial.write_text(f"{step} {max_steps}\n", encoding="ascii")
    os.replace(partial, folder / PROGRESS_FILE)


def read_progress(folder: Path) -> tuple[int, int]:
    """Returns ``(step, max_steps)``; ``(0, -1)`` where nothing was saved yet."""
    path = folder / PROGRESS_FILE
    if not path.is_file():
        return 0, -1
    step, max_steps = path.read_text(encoding="ascii").split()
    return int(step), int(max_steps)
