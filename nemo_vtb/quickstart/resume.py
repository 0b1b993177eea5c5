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

# Where things are kept and how they are computed, not what is learnt and asked.
_OF_NO_EFFECT = ("threads", "trainer.precision", "model.llm_dtype", "model.encoder_cache", "model.attn_implementation")
_SETTINGS, _BEFORE = "settings", "before"


class Stopped:
    """What a run leaves beside its last checkpoint, and finds there again.

    Args:
        trainer: As built.
        settings: The composed config as plain values, before the machine chose anything.

    Raises:
        VTBError: If what is there was left by another config.
    """

    def __init__(self, trainer: "Trainer", settings: dict[str, Any]) -> None:
        keeps = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, LastCheckpoint)]
        self._folder = keeps[0].folder(trainer) if keeps else None
        if self._folder is None:
            return
        path = self._folder / f"{_SETTINGS}.json"
        if self.checkpoint is not None and path.exists():
            _same(json.loads(path.read_text(encoding="utf-8")), json.loads(json.dumps(settings)), self._folder)
        else:
            (self._folder / f"{_BEFORE}.json").unlink(missing_ok=True)
            write_json(settings, self._folder, _SETTINGS)

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
            kept = {"answers": before.answers, "suite": before.suite, "seconds": seconds}
            write_json(kept, self._folder, _BEFORE)

    @property
    def _kept(self) -> dict[str, Any]:
        path = self._folder / f"{_BEFORE}.json" if self._folder else None
        return json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}


def _same(there: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    left, asked = flattened(there), flattened(now)
    for key in {**left, **asked}:
        if left.get(key) != asked.get(key) and not key.startswith(_OF_NO_EFFECT):
            raise VTBError(
                f"{folder} holds a run that was stopped, with {key}={left.get(key)!r}; now it is {asked.get(key)!r}: "
                "take the old value and it goes on, remove that folder, or name another one with --out"
            )
