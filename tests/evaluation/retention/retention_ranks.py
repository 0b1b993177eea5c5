"""A rank of a run that the retention gate stops."""

import os
from pathlib import Path

from tiny_training import train

from nemo_vtb.callbacks.progress import KindProgress
from nemo_vtb.errors import VTBError


def train_until_stopped(folder: Path, strategy: str) -> None:
    """Writes the error that stopped this rank and what it had measured."""
    rank, progress = os.environ["LOCAL_RANK"], KindProgress()
    try:
        train(folder, "log", strategy, steps=5, every=100, validate_every=5, more=(progress,))
    except VTBError as error:
        (folder / f"error.{rank}").write_text(str(error))
        (folder / f"score.{rank}").write_text(repr(progress.validation))
