"""One rank of ``test_resume``.

Every training batch's conversation ids are appended to a file at once; a scenario may end by SIGKILL in a given step.
"""

import json
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from nemo.collections.common.tokenizers import AutoTokenizer
from omegaconf import OmegaConf

from nemo_vtb.data.datamodule import VTBDataModule
from nemo_vtb.data.dataset import VTBDataset


class Toy(LightningModule):
    """Something to train: what is tested is which batches it sees."""

    def __init__(self, seen: Path, kill_at: int | None, shard: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)
        self.seen, self.kill_at, self.shard = seen, kill_at, shard
        self.validations = 0

    def configure_model(self) -> None:
        if self.shard:
            from torch.distributed.fsdp import fully_shard

            fully_shard(self.layer, mesh=self.device_mesh["data_parallel"])
            self.shard = False

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> torch.Tensor:
        tokens = sum(len(encoded.input_ids) for encoded in batch["encoded"])
        frames = sum(-(-int(samples) // 1280) - 1 for samples in batch["audio_lens"])
        ids = [conversation.id for conversation in batch["conversations"]]
        with self.seen.open("a") as file:
            file.write(json.dumps({"ids": ids, "positions": tokens + frames}) + "\n")
        if self.kill_at is not None and self.global_step == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(batch["loss_mask"].float().mean().expand(1, 8)).sum()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.validations += 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def run(folder: Path, scenario: dict[str, Any]) -> None:
    ranks, rank = scenario["ranks"], int(os.environ["LOCAL_RANK"])
    said = os.open(folder / f"{scenario['name']}.{rank}.log", os.O_WRONLY | os.O_CREAT)
    for number in (1, 2):
        os.dup2(said, number)
    timeout = timedelta(seconds=60)
    strategies = {
        "ddp": lambda: DDPStrategy(process_group_backend="gloo", timeout=timeout),
        "fsdp2": lambda: ModelParallelStrategy(
            data_parallel_size=2, tensor_parallel_size=1, process_group_backend="gloo", timeout=timeout
        ),
    }
    model = Toy(folder / f"{scenario['name']}.{rank}.jsonl", scenario.get("kill_at"), scenario["strategy"] == "fsdp2")
    trainer = Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy=strategies[scenario["strategy"]]() if ranks > 1 else "auto",
        max_steps=scenario["steps"],
        limit_train_batches=scenario.get("epoch"),
        accumulate_grad_batches=scenario.get("accumulate", 1),
        val_check_interval=scenario.get("validate", 2),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=1,
        callbacks=[
            ModelCheckpoint(
                dirpath=folder / scenario["checkpoints"], filename="{step}", every_n_train_steps=3, save_top_k=-1
            )
        ],
        logger=CSVLogger(folder / "logs", name=scenario["name"], version=""),
        log_every_n_steps=2,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    cfg = OmegaConf.load(folder / "data.yaml")
    cfg.train_ds.num_workers = scenario["workers"]
    tokenizer = AutoTokenizer(str(folder / "llm"), use_fast=True)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|audio|>"]})
    trainer.fit(
        model,
        VTBDataModule(cfg, tokenizer, VTBDataset(tokenizer)),
        ckpt_path=scenario.get("resume") and folder / scenario["resume"],
    )
    assert trainer.world_size == ranks and model.validations
