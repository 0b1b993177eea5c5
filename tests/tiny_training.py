"""A tiny training run, as a rank of it: what the tests of resuming, preemption and the heartbeat start."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.strategies import ModelParallelStrategy
from omegaconf import OmegaConf

from nemo_vtb import VoiceTextBlender, VTBDataModule, VTBDataset, registry
from nemo_vtb.callbacks.heartbeat import Heartbeat
from nemo_vtb.callbacks.last_checkpoint import LastCheckpoint
from nemo_vtb.data.loader import BlendLoader
from nemo_vtb.strategies.megatron import MegatronStrategy
from nemo_vtb.strategies.sharded import ShardedStrategy

CHECKPOINT = Path("checkpoints") / "last.ckpt"
STRATEGIES = {
    "hybrid of 2": lambda: ShardedStrategy(replicas=2),
    "Lightning's FSDP2": lambda: ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1),
}


class Record(Callback):
    """Writes each step's loss and samples as it happens; perhaps kills its process before a step."""

    def __init__(self, path: Path, kill_before: int | None = None) -> None:
        self.path, self.kill_before = path, kill_before

    def on_train_batch_start(self, trainer: Trainer, model: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step + 1 == self.kill_before:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_train_batch_end(self, trainer: Trainer, model: Any, out: Any, batch: Any, batch_idx: int) -> None:
        row = {
            "step": trainer.global_step,
            "loss": float(out["loss"]).hex(),
            "samples": [conversation.id for conversation in batch["conversations"]],
        }
        with Path(f"{self.path}.{trainer.global_rank}").open("a") as file:
            file.write(json.dumps(row) + "\n")


class Keep(Callback):
    """Keeps what was saved after a step, which ``go_back`` takes."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Trainer, model: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.step and trainer.is_global_zero:
            folder = Path(trainer.default_root_dir)
            shutil.copytree((folder / CHECKPOINT).parent, folder / "kept", dirs_exist_ok=True)


def go_back(folder: Path) -> None:
    """Makes the checkpoint that was kept the last one."""
    shutil.copytree(folder / "kept", (folder / CHECKPOINT).parent, dirs_exist_ok=True)


class Dawdle(Callback):
    """Is slow in one place and says so, so that a signal hits it there."""

    def __init__(self, folder: Path, place: str, seconds: float, rank: int | None = None) -> None:
        self.folder, self.place, self.seconds, self.rank = folder, place, seconds, rank

    def _dawdle(self, trainer: Trainer, place: str) -> None:
        if place == self.place and self.rank in (None, trainer.global_rank):
            (self.folder / f"in_{place}.{trainer.global_rank}").touch()
            time.sleep(self.seconds)

    def on_train_batch_start(self, trainer: Trainer, model: Any, batch: Any, batch_idx: int) -> None:
        self._dawdle(trainer, "step")

    def on_train_batch_end(self, trainer: Trainer, model: Any, out: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == 2:
            self._dawdle(trainer, "data")

    def on_validation_batch_start(self, trainer: Trainer, model: Any, *args: Any) -> None:
        self._dawdle(trainer, "validation")

    def on_save_checkpoint(self, trainer: Trainer, model: Any, checkpoint: dict[str, Any]) -> None:
        self._dawdle(trainer, "save")


class SizedLoader(BlendLoader):
    """Lightning fetches one batch ahead of training from a loader without a length."""

    def __len__(self) -> int:
        return 10**9


class SizedDataModule(VTBDataModule):
    def train_dataloader(self) -> Any:
        loader = super().train_dataloader()
        loader.__class__ = SizedLoader
        return loader


def train(
    folder: Path,
    log: str,
    strategy: str = "ddp",
    steps: int = 6,
    every: int | None = 3,
    resume: bool = False,
    kill_before: int | None = None,
    dawdle: tuple[Any, ...] | None = None,
    heartbeat: tuple[float, float] | None = None,
    devices: int = 2,
    validate_every: int | None = None,
    logger: bool = False,
    keep: int | None = None,
    more: tuple[Callback, ...] = (),
    prepare: Callable[[Any], None] | None = None,
    **options: Any,
) -> None:
    """Trains as one rank.

    Args:
        folder: Holds ``config.json``; receives ``log.RANK`` and ``checkpoints/last.ckpt``.
        log: Name of the record.
        strategy: A name Lightning knows, or one of ``STRATEGIES``.
        steps: ``trainer.max_steps``.
        every: Steps between two saves of a LastCheckpoint; None: there is none.
        resume: Whether to go on from the last checkpoint.
        kill_before: The step before which the process kills itself.
        dawdle: ``(place, seconds)`` or ``(place, seconds, rank)`` of a Dawdle.
        heartbeat: ``(silent_after, stuck_after)``.
        devices: Ranks.
        validate_every: Batches between two validations.
        logger: Whether to write for TensorBoard.
        keep: The step of a Keep.
        more: Callbacks.
        prepare: Is given the model when it is built.
        **options: Of the Trainer.
    """
    registry.register()
    seed_everything(7, verbose=False)
    cfg = json.loads((folder / "config.json").read_text())
    callbacks: list[Callback] = [Record(folder / log, kill_before), *more]
    if every is not None:
        callbacks.append(LastCheckpoint(every))
    if keep is not None:
        callbacks.append(Keep(keep))
    if dawdle is not None:
        callbacks.append(Dawdle(folder, *dawdle))
    if heartbeat is not None:
        callbacks.append(Heartbeat(*heartbeat))
    trainer = Trainer(
        accelerator="cpu",
        devices=devices,
        strategy=STRATEGIES[strategy]() if strategy in STRATEGIES else strategy,
        max_steps=steps,
        default_root_dir=folder,
        callbacks=callbacks,
        logger=logger,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        val_check_interval=validate_every,
        limit_val_batches=None if validate_every else 0,
        **options,
    )
    if isinstance(trainer.strategy, MegatronStrategy):
        trainer.strategy.begin()
    model = VoiceTextBlender(cfg["model"])
    if prepare is not None:
        prepare(model)
    dataset = VTBDataset(model.tokenizer, "chatml")
    datamodule = SizedDataModule(OmegaConf.create(cfg["data"]), model.tokenizer, dataset)
    trainer.fit(model, datamodule, ckpt_path=str(folder / CHECKPOINT) if resume else None)


def recorded(folder: Path, log: str, rank: int) -> list[dict[str, Any]]:
    """What a rank wrote."""
    return [json.loads(line) for line in Path(f"{folder / log}.{rank}").read_text().splitlines()]
