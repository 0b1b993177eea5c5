"""``trainer.precision=16``: a gradient scaler tries out how far it can go, and what overflows is its to leave out."""

import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins import MixedPrecision
from omegaconf import OmegaConf

from nemo_vtb import VoiceTextBlender, VTBDataModule, VTBDataset


def fit(run_folder: Path, scale: float) -> tuple[Any, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Two steps with float16 arithmetic and a scaler, as a GPU has them; the scaler, the weights before and after."""
    cfg = json.loads((run_folder / "config.json").read_text())
    cfg["data"].pop("validation_ds")
    model = VoiceTextBlender(cfg["model"])
    data = VTBDataModule(OmegaConf.create(cfg["data"]), model.tokenizer, VTBDataset(model.tokenizer, "chatml"))
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options = {"accelerator": "cpu", "devices": 1, "max_steps": 2, "plugins": [plugin], **dict.fromkeys(quiet, False)}
    before = {name: model.get_parameter(name).detach().clone() for name in model.trainable_names}
    Trainer(**options).fit(model, data)
    return plugin.scaler, before, {name: model.get_parameter(name).detach() for name in model.trainable_names}


def test_a_step_that_overflows_is_left_out_by_the_scaler_and_ends_no_run(run_folder: Path):
    scaler, before, after = fit(run_folder, scale=2.0**120)
    assert scaler.get_scale() < 2.0**120
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_steps_within_reach_are_taken(run_folder: Path):
    scaler, before, after = fit(run_folder, scale=4.0)
    assert scaler.get_scale() == 4.0
    assert not all(torch.equal(tensor, after[name]) for name, tensor in before.items())
