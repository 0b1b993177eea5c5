"""What a run costs, in the trainer's logger: NeMo's exp_manager brings TensorBoard, W&B and others."""

import resource
import time
from collections import defaultdict
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, distributed

from nemo_vtb.data.conversations.size import size_of
from nemo_vtb.parts.ranks import logs_now, of_data_ranks


class Throughput(Callback):
    """Logs, beside the losses and accuracies of each kind and the data module's shares, how fast the run goes.

    Logged every ``trainer.log_every_n_steps`` optimizer steps, over all ranks and the steps since the last time:

    - ``tokens_per_second``, ``supervised_tokens_per_second``, ``audio_seconds_per_second``
    - ``data_wait_share``: of the time, spent waiting for the loader; of the rank that waited longest
    - ``step_seconds`` and ``step_seconds_spread``: mean, and slowest rank minus fastest over the mean
    - ``peak_memory_gb``: of the GPU, or of the process where there is none; of the fullest rank
    """

    def __init__(self) -> None:
        self._window: defaultdict[str, float] = defaultdict(float)
        self._step = -1
        self._waiting_since = self._in_step_since = 0.0

    @classmethod
    def wanted(cls, model: Any) -> "Throughput | None":
        """Returns one where somebody reads what it logs; see ``registry.run_callbacks``."""
        return cls() if model.trainer.loggers else None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._step = trainer.global_step
        self._waiting_since = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """The batch is there."""
        self._in_step_since = time.perf_counter()
        self._window["wait"] += self._in_step_since - self._waiting_since

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validation is no waiting for data."""
        self._waiting_since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Counts a batch; logs when it is time."""
        self._waiting_since = time.perf_counter()
        self._window["compute"] += self._waiting_since - self._in_step_since
        for conversation, encoded in zip(batch["conversations"], batch.get("encoded", ()), strict=False):
            size = size_of(encoded, conversation, conversation.token_equivalent_duration)
            self._window["tokens"] += size.total
            self._window["audio"] += size.audio_seconds
            self._window["supervised"] += size.supervised
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._window["steps"] += 1
        if logs_now(trainer, self._step):
            self._log(trainer, pl_module)

    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        window, self._window = self._window, defaultdict(float)
        names = ("tokens", "supervised", "audio", "compute", "wait", "steps")
        own = torch.tensor([*(window[name] for name in names), _peak_memory()], dtype=torch.float64)
        ranks = _gather(own.to(pl_module.device, torch.float32)).cpu().double()
        tokens, supervised, audio = ranks[:, :3].sum(0).tolist()
        compute, wait, steps, memory = ranks[:, 3:].T
        seconds = (compute + wait).max().item()
        logged = {
            "tokens_per_second": tokens / seconds,
            "supervised_tokens_per_second": supervised / seconds,
            "audio_seconds_per_second": audio / seconds,
            "data_wait_share": (wait / (compute + wait)).max().item(),
            "step_seconds": seconds / steps[0].item(),
            "step_seconds_spread": ((compute.max() - compute.min()) / compute.mean()).item(),
            "peak_memory_gb": memory.max().item(),
        }
        pl_module.log_dict(logged, batch_size=1)


def _peak_memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _gather(own: Tensor) -> Tensor:
    """``(ranks, values)``, of ranks with batches of their own."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return own[None]
    gathered = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(gathered, own)
    return torch.stack(of_data_ranks(gathered))
