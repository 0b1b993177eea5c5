"""Leaving in time: on SIGUSR1 (the limit is near), SIGTERM (preempted, cancelled) or Ctrl-C a run saves and ends.

Lightning saves inside the signal handler, where ranks stand in different collectives and wait for each other forever;
NeMo's callback needs a GPU and knows SIGTERM to rank 0 only. Here a handler only takes a note, the ranks agree at a
step's end, and the checkpoint is what the next job resumes from.
"""

import os
import signal
import threading
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from nemo.utils import logging
from torch import distributed

from nemo_vtb.callbacks.control import control_store
from nemo_vtb.callbacks.last_checkpoint import save_last

# The first two are for runs that keep checkpoints.
SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
_BY_CTRL_C = 130
# Ranks in one collective are at most one batch apart; a shared batch number this far ahead is passed by none unread.
_BATCHES_AHEAD = 2
_STOP_KEY = "validation_ends_before"


class Preemption(Callback):
    """Ends training at the step after the one in which any rank was signalled, with exit code 0, by Ctrl-C with 130.

    A validation under way is cut short, its partial result dropped; the checkpoint from before it stands.
    """

    def __init__(self) -> None:
        self._signalled: int | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._group: distributed.ProcessGroup | None = None
        self._store: distributed.Store | None = None
        self._pending: tuple[torch.Tensor, Any] | None = None
        self._step = -1
        self._validation_cut = False

    @classmethod
    def wanted(cls, model: Any) -> "Preemption | None":
        """Returns one for every run but a trial of a few batches; see ``registry.run_callbacks``."""
        return None if model.trainer.fast_dev_run else cls()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the signals over; every rank opens the channel on which they agree."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS if trainer.checkpoint_callbacks else (signal.SIGINT,):
                self._previous[number] = signal.signal(number, self._note)
        if trainer.world_size > 1:
            # On the host: a step must not wait for the GPU to learn that nobody was signalled.
            self._group = distributed.new_group(backend="gloo", timeout=timedelta(minutes=30))
            self._store = control_store(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the signals back."""
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the signals back; an interrupt that came as an exception saves where the run stands whole."""
        training = bool(self._previous)
        self._restore_handlers()
        if training and isinstance(exception, KeyboardInterrupt):
            if trainer.world_size == 1 and _between_steps(trainer):
                self._save(trainer, "Ctrl-C")
            else:
                logging.info("nemo_vtb: interrupted inside a step; what was saved before it stands")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ends the run once the ranks agreed."""
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if self._agreed():
            self._leave(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Cuts a validation short, on every rank before the same batch.

        Raises:
            StopIteration: Which ends Lightning's evaluation loop.
        """
        if not self._previous or trainer.sanity_checking:
            return
        key = f"{_STOP_KEY}_{trainer.global_step}"
        if self._signalled and self._store is not None and not self._store.check([key]):
            self._store.set(key, str(batch_idx + _BATCHES_AHEAD))
        if self._store is None:
            self._validation_cut = self._signalled is not None
        elif self._store.check([key]):
            self._validation_cut = batch_idx + 1 >= int(self._store.get(key))
        if self._validation_cut:
            raise StopIteration

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leaves before the result of a validation cut short is logged or judged."""
        if not self._previous or trainer.sanity_checking:
            return
        cut = torch.tensor([float(self._validation_cut)])
        if self._group is not None:
            distributed.all_reduce(cut, group=self._group)
        if cut:
            self._leave(trainer)

    def _note(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT:
            if self._signalled == number:
                raise KeyboardInterrupt
            # Not through a logger or a stream, which the signal may have interrupted.
            os.write(2, b"\nnemo_vtb: Ctrl-C: leaving after this step; once more leaves at once\n")
        self._signalled = number

    def _agreed(self) -> bool:
        """Whether any rank was signalled before the last step's end: the question travels while the next step runs."""
        if self._group is None:
            return self._signalled is not None
        anyone = False
        if self._pending is not None:
            flag, work = self._pending
            work.wait()
            anyone = bool(flag)
        flag = torch.tensor([float(self._signalled is not None)])
        self._pending = flag, distributed.all_reduce(flag, group=self._group, async_op=True)
        return anyone

    def _leave(self, trainer: Trainer) -> None:
        if self._pending is not None:
            self._pending[1].wait()
        by_hand = self._signalled == signal.SIGINT
        name = signal.Signals(self._signalled).name if self._signalled else "a signal to another rank"
        self._save(trainer, "Ctrl-C" if by_hand else name)
        raise SystemExit(_BY_CTRL_C if by_hand else 0)

    def _save(self, trainer: Trainer, name: str) -> None:
        if trainer.checkpoint_callbacks:
            path = save_last(trainer)
            logging.info(f"nemo_vtb: left after {name}, checkpoint at step {trainer.global_step}: {path}")
        else:
            logging.info(f"nemo_vtb: left after {name} at step {trainer.global_step}; this run keeps no checkpoints")

    def _restore_handlers(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


def _between_steps(trainer: Trainer) -> bool:
    """Whether no batch, and no window of accumulated gradients, is half done."""
    batches = trainer.fit_loop.epoch_loop.batch_progress.current
    return batches.ready == batches.processed and not trainer.fit_loop._should_accumulate()
