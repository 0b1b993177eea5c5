"""One rank of ``test_two_ranks``: some scenarios one after another, each a short fit under Lightning."""

import json
import os
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


def whole(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).detach().clone()


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {name: whole(p) for name, p in model.named_parameters() if p.requires_grad}


def batch_statistics(model: Any) -> dict[str, torch.Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers() if "batch_norm" in name}


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: whole(p.grad) for name, p in model.named_parameters() if p.requires_grad}


def fit(folder: Path, scenario: dict[str, Any], rank: int) -> dict[str, Any]:
    """Trains on this rank's batches; returns what the model became, or the error that stopped it."""
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
    from torch.utils.data import DataLoader

    from nemo_vtb.errors import VTBError

    seen: dict[str, Any] = {}

    class Record(Callback):
        def on_before_optimizer_step(self, trainer: Trainer, model: Any, optimizer: Any) -> None:
            seen["gradients"] = gradients(model)
            seen["statistics"] = batch_statistics(model)
            if isinstance(trainer.strategy, DDPStrategy):
                seen["reduced"] = trainer.strategy.model._get_ddp_logging_data()["num_parameter_tensors"]

    # A rank that waits for a collective the other never reaches fails instead of hanging.
    common = {"process_group_backend": "gloo", "timeout": timedelta(seconds=120)}
    strategies = {
        "ddp": lambda: DDPStrategy(**common),
        "fsdp2": lambda: ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1, **common),
    }
    model = build_model(json.loads((folder / f"{scenario['model']}.json").read_text()))
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy=strategies[scenario["strategy"]](),
        max_steps=scenario.get("steps", 1),
        accumulate_grad_batches=scenario.get("accumulate", 1),
        gradient_clip_val=scenario.get("clip"),
        num_sanity_val_steps=0,
        callbacks=[Record()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    load = [torch.load(folder / f"{name}.pt", weights_only=False) for name in scenario["batches"][rank]]
    held_out = [{"held_out": load[0]}] * scenario.get("validate", [0, 0])[rank]
    try:
        trainer.fit(model, DataLoader(load, batch_size=None), DataLoader(held_out, batch_size=None))
    except VTBError as error:
        return {"error": str(error), "parameters": trained(model)}
    assert trainer.world_size == 2 and trainer.global_step == scenario.get("steps", 1)
    names = [name for name in ("val_loss_held_out", "val_loss", "val_acc") if name in trainer.callback_metrics]
    shards = {type(p.data).__name__ for p in model.parameters() if p.requires_grad}
    return {
        **seen,
        "parameters": trained(model),
        "validation": {name: trainer.callback_metrics[name] for name in names},
        "shards": sorted(shards),
        "skipped": model._guard.skipped,
    }


def fit_all(folder: Path, scenarios: dict[str, dict[str, Any]]) -> None:
    rank = int(os.environ["LOCAL_RANK"])
    for name, scenario in scenarios.items():
        print(f"scenario {name}", flush=True)
        torch.save(fit(folder, scenario, rank), folder / f"{name}.rank{rank}.pt")
