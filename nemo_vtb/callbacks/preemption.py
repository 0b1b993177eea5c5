"""Leaving in time: on SIGUSR1 (the limit is near) or SIGTERM (preempted, cancelled) a run saves and ends.

Lightning saves inside the signal handler, where ranks stand in different collectives and wait for each other forever;
NeMo's callback needs a GPU and knows SIGTERM to rank 0 only. Here a handler only takes a note, the ranks agree at a
step's end, and the checkpoint is what the next job resumes from.
"""

import signal
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from nemo.utils import logging
from torch import distributed

from nemo_vtb.callbacks.control import control_store
from nemo_vtb.callbacks.last_checkpoint import save_last

SIGNALS = (signal.SIGUSR1, signal.SIGTERM)
# Ranks in one collective are at most one batch apart; a shared batch number this far ahead is passed by none unread.
_BATCHES_AHEAD = 2
_STOP_KEY = "validation_ends_before"


class Preemption(Callback):
    """Ends training at the step after the one in which any rank was signalled, with exit code 0.

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
        """Returns one where the run keeps checkpoints; see ``registry.run_callbacks``."""
        return cls() if model.trainer.checkpoint_callbacks else None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes the signals over; every rank opens the channel on which they agree."""
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._note)
        if trainer.world_size > 1:
            # On the host: a step must not wait for the GPU to learn that nobody was signalled.
            self._group = distributed.new_group(backend="gloo", timeout=timedelta(minutes=30))
            self._store = control_store(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the signals back."""
        self._restore_handlers()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives the signals back."""
        self._restore_handlers()

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
        save_last(trainer)
        name = signal.Signals(self._signalled).name if self._signalled else "a signal to another rank"
        logging.info(f"nemo_vtb: left after {name}, checkpoint at step {trainer.global_step}")
        raise SystemExit(0)

    def _restore_handlers(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}
