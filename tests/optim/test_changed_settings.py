"""A run that goes on with other settings than its checkpoint was trained with: used, or refused by name."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from nemo_vtb.errors import VTBError
from nemo_vtb.training import build

NEMO = "nemo.core.optim.lr_scheduler.CosineAnnealing"
TORCH = "torch.optim.lr_scheduler.ExponentialLR"
COSINE = {"_target_": NEMO, "max_steps": 8, "warmup_steps": 2, "min_lr": 1e-5}
ADAMW = {"_target_": "torch.optim.AdamW", "lr": 1e-3, "weight_decay": 0.1}


@pytest.fixture
def go(run_folder: Path) -> Callable[..., Any]:
    """Trains up to a step, from the last checkpoint where there is one; returns the trainer."""

    def run(steps: int, strategy: str = "auto", folder: str = "run", **model: Any) -> Any:
        cfg = json.loads((run_folder / "config.json").read_text())
        cfg["model"] |= {"optimizer": ADAMW, "lr_scheduler": COSINE, **model}
        last = {"_target_": "nemo_vtb.callbacks.last_checkpoint.LastCheckpoint"}
        quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
        cfg["trainer"] = {"accelerator": "cpu", "devices": 1, "max_steps": steps, "limit_val_batches": 0, **quiet}
        cfg["trainer"] |= {"strategy": strategy, "callbacks": [last]}
        cfg["exp_manager"] = {"explicit_log_dir": str(run_folder / folder), "create_checkpoint_callback": False}
        cfg["exp_manager"] |= {"resume_if_exists": True, "resume_ignore_no_checkpoint": True}
        cfg["exp_manager"] |= {"create_tensorboard_logger": False, "log_step_timing": False}
        trainer, lightning_module, data = build(OmegaConf.create(cfg))
        trainer.fit(lightning_module, data)
        return trainer

    return run


def group(trainer: Any) -> dict[str, Any]:
    settings = trainer.optimizers[0].param_groups[0]
    pairs = {f"betas[{number}]": value for number, value in enumerate(settings["betas"])}
    return pairs | {key: value for key, value in settings.items() if isinstance(value, float)}


@pytest.mark.parametrize("strategy", ["auto", "vtb_fsdp2"])
def test_another_rate_and_decay_are_used(strategy: str, go: Callable[..., Any], caplog: pytest.LogCaptureFixture):
    go(2, strategy, lr_scheduler=None)
    changed = {**ADAMW, "lr": 1e-5, "weight_decay": 0.0}
    after = group(go(4, strategy, lr_scheduler=None, optimizer=changed))
    assert after["lr"] == 1e-5 and after["weight_decay"] == 0.0


@pytest.mark.parametrize(
    "schedule",
    [
        {**COSINE, "max_steps": 20},
        {**COSINE, "_target_": "nemo.core.optim.lr_scheduler.InverseSquareRootAnnealing"},
        {"_target_": TORCH, "gamma": 0.5},
        {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 1e-2, "total_steps": 9},
        None,
    ],
    ids=lambda schedule: str(schedule and schedule["_target_"].rpartition(".")[2]),
)
def test_another_schedule_goes_on_as_if_it_had_been_so_from_the_beginning(schedule: Any, go: Callable[..., Any]):
    go(3)
    resumed = group(go(5, lr_scheduler=schedule))
    assert resumed == pytest.approx(group(go(5, folder="other", lr_scheduler=schedule)))


def test_a_longer_run_with_the_length_left_open_is_scheduled_anew(go: Callable[..., Any]):
    go(3, lr_scheduler={**COSINE, "max_steps": -1})
    longer = {**COSINE, "max_steps": -1}
    assert group(go(6, lr_scheduler=longer)) == pytest.approx(group(go(6, folder="other", lr_scheduler=longer)))


def test_values_of_lr_scale_are_used(go: Callable[..., Any]):
    go(2, lr_scale={r".+\.lora_.+": 0.1}, lr_scheduler=None)
    assert group(go(3, lr_scale={r".+\.lora_.+": 0.5}, lr_scheduler=None))["lr"] == pytest.approx(5e-4)


@pytest.mark.parametrize("strategy", ["auto", "vtb_fsdp2"])
@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ({"optimizer": {"_target_": "torch.optim.SGD", "lr": 1e-3}}, "torch.optim.SGD, the checkpoint has states of"),
        ({"lr_scale": {r".+\.lora_.+": 0.1}}, "model.lr_scale groups parameters by"),
        (
            {"lora": {"r": 8, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}},
            "model.lora.r is 8, the check.*4",
        ),
        ({"lora": {"r": 4, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]}}, "model.lora.lora_alpha is 4"),
        ({"lora": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}}, "model.lora.target_modules is not what"),
        (
            {"lora": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "k_proj", "v_proj"]}},
            "target_modules is not",
        ),
        ({"lora": None}, "the config has no model.lora"),
    ],
    ids=["optimizer", "patterns", "rank", "alpha", "fewer targets", "more targets", "no lora"],
)
def test_what_cannot_go_on_is_refused_by_name(strategy: str, model: Any, sentence: str, go: Callable[..., Any]):
    go(1, strategy)
    with pytest.raises(VTBError, match=sentence):
        go(2, strategy, **model)


def test_an_adapter_of_another_size_is_refused(go: Callable[..., Any], run_folder: Path):
    go(1)
    perception = json.loads((run_folder / "config.json").read_text())["model"]["perception"]
    perception["modality_adapter"]["conv_kernel_size"] = 5
    with pytest.raises(VTBError, match="another shape than this config gives them"):
        go(2, perception=perception)


def test_a_run_does_not_go_on_from_weights_alone(go: Callable[..., Any], run_folder: Path):
    go(2, lr_scheduler=None)
    last = run_folder / "run" / "checkpoints" / "last.ckpt"
    kept = torch.load(last, weights_only=False)
    del kept["optimizer_states"], kept["lr_schedulers"]
    torch.save(kept, last)
    with pytest.raises(VTBError, match=r"holds trained weights alone .* set model.init_from to its path"):
        go(3, lr_scheduler=None)
    torch.save({"state_dict": kept["state_dict"]}, last)
    with pytest.raises(VTBError, match=r"last\.ckpt is not a checkpoint that a run has written"):
        go(3, lr_scheduler=None)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"lr_scale": {"(llm": 0.1}}, r"model.lr_scale: '\(llm' is no regular expression"),
        ({"prevent_freeze_params": ["^lm.+"]}, r"model.prevent_freeze_params matches no parameter: \^lm"),
    ],
)
def test_patterns_that_are_none_or_match_nothing_are_refused(
    section: dict[str, Any], sentence: str, go: Callable[..., Any]
):
    with pytest.raises(VTBError, match=sentence):
        go(1, lr_scheduler=None, **section)
