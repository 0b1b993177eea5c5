"""One ``last.ckpt`` from which a run goes on, never half written and never far behind."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

LAST = "last.ckpt"


class LastCheckpoint(Checkpoint):
    """Overwrites ``last.ckpt`` every few steps, before each validation and at the end of training.

    Saved before validation, nothing is lost when a job ends in the middle of one. For the best checkpoints by a metric,
    add Lightning's ModelCheckpoint. NeMo's own callback refuses to resume when a job was killed while it saved
    (``tests/known_issues/test_kill_during_save.py``).

    Args:
        every_n_train_steps: Optimizer steps between two saves.
        dirpath: The folder; ``checkpoints`` in the run's folder by default, where NeMo's exp_manager looks.
    """

    def __init__(self, every_n_train_steps: int = 500, dirpath: str | None = None) -> None:
        self.every_n_train_steps, self.dirpath = every_n_train_steps, dirpath
        self._saved_step = 0

    def save(self, trainer: Trainer) -> None:
        """Saves unless the file already holds this step; every rank must call it."""
        if trainer.global_step != self._saved_step:
            trainer.save_checkpoint(_folder(trainer, self.dirpath) / LAST)
            self._saved_step = trainer.global_step

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What a run starts from need not be saved again."""
        self._saved_step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves when it is time."""
        if trainer.global_step % self.every_n_train_steps == 0:
            self.save(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves before a validation inside training."""
        if trainer.fit_loop.epoch_loop.batch_progress.total.ready and not trainer.sanity_checking:
            self.save(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the finished run."""
        self.save(trainer)


def save_last(trainer: Trainer) -> None:
    """Saves now, through whatever keeps the run's last checkpoint; every rank must call it."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, LastCheckpoint):
            return callback.save(trainer)
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.save_last:
            if callback._last_global_step_saved != trainer.global_step:
                # As NeMo's PreemptionCallback does it; Lightning has no public name for it.
                callback._save_last_checkpoint(trainer, callback._monitor_candidates(trainer))
            return None
    trainer.save_checkpoint(_folder(trainer, None) / LAST)
    return None


def _folder(trainer: Trainer, dirpath: str | None) -> Path:
    return Path(dirpath) if dirpath else Path(trainer.default_root_dir) / "checkpoints"
