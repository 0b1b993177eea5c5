"""A run of hours that was stopped: where its config keeps a last checkpoint, the same command goes on from there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.callbacks.last_checkpoint import LAST, LastCheckpoint
from nemo_vtb.config import flattened
from nemo_vtb.errors import VTBError
from nemo_vtb.quickstart.measure import Measured
from nemo_vtb.reports.write import write_json

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

_BEFORE = "before"


class Stopped:
    """What a run leaves beside its last checkpoint, and finds there again.

    What else may have changed in between is for the checkpoint to refuse, as in ``vtb train``.

    Args:
        trainer: As built.
        asked: The section ``held_out`` as plain values.

    Raises:
        VTBError: If other questions were asked before.
    """

    def __init__(self, trainer: "Trainer", asked: dict[str, Any]) -> None:
        keeps = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, LastCheckpoint)]
        self._folder, self._asked = keeps[0].folder(trainer) if keeps else None, json.loads(json.dumps(asked))
        self._kept: dict[str, Any] = {}
        path = self._folder / f"{_BEFORE}.json" if self._folder else None
        if self.checkpoint is not None and path is not None and path.exists():
            self._kept = json.loads(path.read_text(encoding="utf-8"))
            _same(self._kept["asked"], self._asked, path.parent)

    @property
    def checkpoint(self) -> Path | None:
        """Of the run that was stopped; None where there is none."""
        path = self._folder / LAST if self._folder else None
        return path if path is not None and path.exists() else None

    @property
    def before(self) -> Measured | None:
        """What was answered before the training; None where that has to be asked."""
        return Measured(self._kept["answers"], self._kept["suite"]) if self._kept else None

    @property
    def seconds(self) -> dict[str, float]:
        """What the stages before the training took."""
        return dict(self._kept["seconds"])

    def keep(self, before: Measured, seconds: dict[str, float]) -> None:
        """Keeps what was answered before the training, and what that took."""
        if self._folder is not None:
            kept = {"asked": self._asked, "answers": before.answers, "suite": before.suite, "seconds": seconds}
            write_json(kept, self._folder, _BEFORE)


def _same(there: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    left, asked = flattened(there, "held_out"), flattened(now, "held_out")
    for key in {**left, **asked}:
        if left.get(key) != asked.get(key):
            raise VTBError(
                f"{folder} holds a run that was stopped, with {key}={left.get(key)!r}; now it is {asked.get(key)!r}: "
                "take the old value and it goes on, remove that folder, or name another one with --out"
            )
