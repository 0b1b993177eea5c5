"""One ``last.ckpt`` from which a run goes on, never half written and never far behind."""

import os
from itertools import count
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from nemo.utils import logging

from nemo_vtb.errors import VTBError
from nemo_vtb.paths import claim, release

LAST = "last.ckpt"
_WHERE_NEMO_LOOKS = "checkpoints"


class LastCheckpoint(Checkpoint):
    """Overwrites ``last.ckpt`` every few steps, before each validation and at the end of training.

    Saved before validation, nothing is lost when a job ends in the middle of one. For the best checkpoints by a metric,
    add Lightning's ModelCheckpoint. NeMo's own callback refuses to resume when a job was killed while it saved
    (``tests/known_issues/test_kill_during_save.py``). What an earlier run has left there, from which this one does not
    go on, is kept as ``last-v1.ckpt``, the next as ``last-v2.ckpt``.

    Args:
        every_n_train_steps: Optimizer steps between two saves.
        dirpath: The folder; ``checkpoints`` in the run's folder by default, where NeMo's exp_manager looks.
    """

    def __init__(self, every_n_train_steps: int = 500, dirpath: str | None = None) -> None:
        if not isinstance(every_n_train_steps, int) or every_n_train_steps < 1:
            raise VTBError(f"LastCheckpoint: every_n_train_steps is {every_n_train_steps!r}; it is at least 1")
        self.every_n_train_steps, self.dirpath = every_n_train_steps, dirpath
        self._saved_step = 0
        self._of_earlier_run = False

    def folder(self, trainer: Trainer) -> Path:
        """Where the file is kept."""
        return Path(self.dirpath) if self.dirpath else Path(trainer.default_root_dir) / _WHERE_NEMO_LOOKS

    def save(self, trainer: Trainer) -> Path:
        """Saves unless the file already holds this step; every rank must call it.

        Returns:
            The file.
        """
        path = self.folder(trainer) / LAST
        if trainer.global_step != self._saved_step and not trainer.fast_dev_run:
            self._keep_earlier(trainer)
            trainer.save_checkpoint(path)
            self._saved_step = trainer.global_step
        return path

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Tries the folder before the first step.

        Raises:
            VTBError: See ``claim``.
        """
        if stage == "fit" and trainer.is_global_zero and not trainer.fast_dev_run:
            self.claim(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the folder back."""
        release(self.folder(trainer))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the folder back once nothing more is saved: a signal or Ctrl-C ends a run so, too."""
        release(self.folder(trainer))

    def claim(self, trainer: Trainer) -> None:
        """Makes the folder this run's own; one process alone calls it.

        Raises:
            VTBError: If it cannot be written to, or another run of this machine writes there.
        """
        claim(self.folder(trainer), "dirpath of LastCheckpoint" if self.dirpath else "trainer.default_root_dir")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What a run starts from need not be saved again; what it does not start from is not to be lost."""
        self._saved_step = trainer.global_step
        if trainer.fast_dev_run:
            return
        path = self.folder(trainer) / LAST
        self._of_earlier_run = trainer.strategy.broadcast(trainer.global_step == 0 and path.exists())
        if self._of_earlier_run and trainer.is_global_zero:
            logging.warning(
                f"nemo_vtb: {path} is of an earlier run; this one begins anew and keeps it as {_kept_as(path).name}. "
                f"{self._how_to_go_on(trainer)}"
            )

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

    def _keep_earlier(self, trainer: Trainer) -> None:
        if not self._of_earlier_run:
            return
        _keep(trainer, self.folder(trainer) / LAST)
        self._of_earlier_run = False

    def _how_to_go_on(self, trainer: Trainer) -> str:
        folder = self.folder(trainer)
        if folder.name != _WHERE_NEMO_LOOKS:
            return ""
        return (
            f"To go on from it, end this run, name it {LAST} again and say "
            f"+exp_manager.explicit_log_dir={folder.parent} +exp_manager.resume_if_exists=true "
            "+exp_manager.create_checkpoint_callback=false"
        )

    # NeMo's timer for exp_manager.max_time_per_run has the first checkpoint callback save, by these two names.
    def _monitor_candidates(self, trainer: Trainer) -> dict[str, Any]:
        return {}

    def _save_last_checkpoint(self, trainer: Trainer, monitor_candidates: dict[str, Any]) -> None:
        self.save(trainer)


class TrainedWeights(LastCheckpoint):
    """Saves what was learnt when training ends, however it does, where the config keeps no checkpoints.

    Args:
        dirpath: The folder, which receives ``last.ckpt``, without states of the optimizer.
    """

    def __init__(self, dirpath: str) -> None:
        super().__init__(dirpath=dirpath)

    def save(self, trainer: Trainer) -> Path:
        """Saves; every rank must call it."""
        path = self.folder(trainer) / LAST
        self._keep_earlier(trainer)
        trainer.save_checkpoint(path, weights_only=True)
        logging.info(f"nemo_vtb: the trained weights are in {path}")
        return path

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Nothing is saved on the way."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing is saved on the way."""

    def _how_to_go_on(self, trainer: Trainer) -> str:
        return f"To begin with its weights, say +model.init_from={_kept_as(self.folder(trainer) / LAST)}"


def _kept_as(path: Path) -> Path:
    """The first name of Lightning's for a further version that is free."""
    names = (path.with_name(f"{path.stem}-v{number}{path.suffix}") for number in count(1))
    return next(name for name in names if not name.exists())


def _keep(trainer: Trainer, path: Path) -> None:
    """Gives what an earlier run saved a name of its own; every rank must call it."""
    if trainer.is_global_zero and path.exists():
        os.replace(path, _kept_as(path))
    # Where ranks write parts of it, none may begin before.
    trainer.strategy.barrier()


def save_if_nothing_is_kept(trainer: Trainer, folder: str) -> None:
    """Saves the trained weights of a finished run whose callbacks have written no checkpoint: none came to its turn.

    Args:
        trainer: After ``fit``; every rank must call it.
        folder: Receives ``last.ckpt``; that of an earlier run is kept.
    """
    waiting = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
    if len(waiting) < len(trainer.checkpoint_callbacks) or not waiting or trainer.fast_dev_run:
        return
    if not trainer.global_step or any(callback._last_global_step_saved for callback in waiting):
        return
    if trainer.is_global_zero:
        logging.warning("nemo_vtb: the run was over before the first checkpoint that its callbacks were to keep")
    path = Path(folder) / LAST
    if trainer.strategy.broadcast(path.exists()):
        _keep(trainer, path)
    TrainedWeights(folder).save(trainer)


def save_last(trainer: Trainer) -> Path:
    """Saves now, through whatever keeps the run's last checkpoint; every rank must call it.

    Returns:
        The file.
    """
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, LastCheckpoint):
            return callback.save(trainer)
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.save_last:
            if callback._last_global_step_saved != trainer.global_step:
                # As NeMo's PreemptionCallback does it; Lightning has no public name for it.
                callback._save_last_checkpoint(trainer, callback._monitor_candidates(trainer))
            return Path(callback.last_model_path)
    path = LastCheckpoint().folder(trainer) / LAST
    goes_on_from = trainer.ckpt_path and Path(trainer.ckpt_path).resolve()
    if trainer.strategy.broadcast(path.exists() and goes_on_from != path.resolve()):
        _keep(trainer, path)
    trainer.save_checkpoint(path)
    return path
