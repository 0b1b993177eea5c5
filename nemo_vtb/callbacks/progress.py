"""A progress bar with the loss of every kind and the time left, and the curves behind it."""

import time
from collections.abc import Mapping
from math import isfinite
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from tqdm import tqdm

from nemo_vtb.data.conversations.kinds import KINDS

_SMOOTHING = 0.8


class KindProgress(Callback):
    """Shows and remembers the course of a run.

    Attributes:
        train: One row per step: ``step``, ``seconds`` since the start, and every logged number.
        validation: One row per validation: ``step`` and every ``val_`` number.
    """

    def __init__(self) -> None:
        self.train: list[dict[str, float]] = []
        self.validation: list[dict[str, float]] = []
        self._bar: tqdm | None = None
        self._smooth: dict[str, float] = {}
        self._of_batches: set[str] = set()
        self._start = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar on the first rank."""
        self._start = time.monotonic() - (self.train[-1]["seconds"] if self.train else 0.0)
        total = trainer.estimated_stepping_batches
        self._bar = tqdm(
            total=int(total) if isfinite(total) and total > 0 else None,
            initial=trainer.global_step,
            unit="step",
            desc="train",
            disable=not trainer.is_global_zero,
        )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remembers the step and moves the bar."""
        of_batch = outputs["logged"].keys() if isinstance(outputs, Mapping) and "logged" in outputs else ()
        self._of_batches.update(of_batch)
        # Lightning repeats the last value of what this batch had nothing of, e.g. the loss of a kind.
        stale = self._of_batches.difference(of_batch)
        logged = {
            name: float(value)
            for name, value in trainer.logged_metrics.items()
            if not name.startswith("val_") and name not in stale
        }
        self.train.append({"step": trainer.global_step, "seconds": time.monotonic() - self._start, **logged})
        for kind in KINDS:
            if (loss := logged.get(f"loss_{kind}")) is not None:
                before = self._smooth.get(kind, loss)
                self._smooth[kind] = _SMOOTHING * before + (1 - _SMOOTHING) * loss
        if self._bar is not None:
            self._bar.set_postfix_str(" ".join(f"{kind} {loss:.2f}" for kind, loss in sorted(self._smooth.items())))
            self._bar.update(trainer.global_step - self._bar.n)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remembers the held-out losses."""
        values = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val_")}
        self.validation.append({"step": trainer.global_step, **values})

    def state_dict(self) -> dict[str, Any]:
        """Travels with the checkpoint."""
        return {"train": self.train, "validation": self.validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on after a resume, with the seconds of the processes before."""
        self.train, self.validation = state_dict["train"], state_dict["validation"]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()
