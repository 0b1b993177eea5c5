"""One rank of ``test_two_ranks``: one optimizer step on this rank's batch, under Lightning's plain DDP."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch


def build_model(cfg: dict[str, Any]) -> Any:
    """The same weights in every process, LoRA's zero half included: with zeros its other half has no gradient."""
    from nemo_vtb import VoiceTextBlender

    torch.manual_seed(0)
    model = VoiceTextBlender(cfg)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}


def batch_statistics(model: Any) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers() if "batch_norm" in name}


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def main(folder: Path) -> None:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.strategies import DDPStrategy
    from torch.utils.data import DataLoader

    rank = int(os.environ["LOCAL_RANK"])
    seen: dict[str, dict[str, torch.Tensor]] = {}

    class Record(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, model: Any, optimizer: Any) -> None:
            seen["gradients"] = gradients(model)
            seen["statistics"] = batch_statistics(model)

    model = build_model(json.loads((folder / "model.json").read_text()))
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        # A rank that waits for a collective the other never reaches fails instead of hanging.
        strategy=DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=120)),
        max_steps=1,
        num_sanity_val_steps=0,
        callbacks=[Record()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    batch = torch.load(folder / f"batch{rank}.pt", weights_only=True)
    # Validation has one batch on rank 0 and three on rank 1.
    held_out = [{"held_out": batch}] * (1 + 2 * rank)
    trainer.fit(model, DataLoader([batch], batch_size=None), DataLoader(held_out, batch_size=None))
    assert trainer.world_size == 2 and trainer.global_step == 1
    validation = {name: trainer.callback_metrics[name] for name in ("val_loss_held_out", "val_loss", "val_acc")}
    torch.save({**seen, "parameters": trained(model), "validation": validation}, folder / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
