"""Options of the step: they change time and memory, never what is computed."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from two_ranks_worker import build_model

from nemo_vtb.errors import VTBError


@pytest.fixture(scope="module")
def batch(tokenizer: Any, conversation: Callable, clips: list[SimpleNamespace]) -> dict[str, Any]:
    from nemo_vtb.data.dataset import VTBDataset

    text = conversation("t", ("user", "Say hello."), ("assistant", "Hello!"), kind="text")
    speech = [conversation(c.path.stem, ("user", c.path), ("assistant", c.text), kind="asr") for c in clips[:2]]
    return VTBDataset(tokenizer, "qwen")[[text, *speech]]


def _step(model: Any, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    loss = model.training_step(batch, 0)["loss"]
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}
    statistics = {name: buffer.clone() for name, buffer in model.named_buffers() if "batch_norm" in name}
    return {"loss": loss.detach(), **found, **statistics}


@pytest.mark.parametrize("lora", [True, False], ids=["lora", "frozen llm"])
def test_activation_checkpointing_changes_no_bit(tiny_cfg: Callable, batch: dict[str, Any], lora: bool):
    overrides = {} if lora else {"lora": None}
    cfg = tiny_cfg("vtb", **overrides)
    cfg["perception"]["encoder"]["dropout"] = 0.1
    expected = _step(build_model(cfg), batch)
    model = build_model({**cfg, "activation_checkpointing": ["llm", "encoder"]})
    model.configure_model()
    kept = _count_saved(model, batch)
    found = _step(model, batch)
    assert expected.keys() == found.keys() and any("batch_norm" in name for name in found)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    assert kept < 0.6 * _count_saved(build_model(cfg), batch)


def _count_saved(model: Any, batch: dict[str, Any]) -> int:
    """Tensors, weights aside, that the forward pass keeps for the backward pass."""
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.data_ptr())
        return tensor

    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model.training_step(batch, 0)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    weights = {p.data_ptr() for p in model.parameters()}
    return len(set(kept) - weights)


def _fit(model: Any, batches: list[Any], **trainer: Any) -> Any:
    from lightning.pytorch import Trainer
    from nemo.utils.trainer_utils import resolve_trainer_cfg
    from omegaconf import DictConfig
    from torch.utils.data import DataLoader

    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    settings = resolve_trainer_cfg(DictConfig({"accelerator": "cpu", "devices": 1, "max_steps": 1, **quiet, **trainer}))
    fitted = Trainer(**settings)
    fitted.fit(model, DataLoader(batches, batch_size=None), DataLoader([{"all": batches[0]}], batch_size=None))
    return fitted


def test_half_precision_narrows_what_is_frozen_and_nothing_else(tiny_cfg: Callable, batch: dict[str, Any]):
    tiny_step = {"_target_": "torch.optim.SGD", "lr": 1e-4}
    model = build_model(tiny_cfg("vtb", optimizer=tiny_step))
    start = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    whole = _step(build_model(tiny_cfg("vtb", optimizer=tiny_step)), batch)
    trainer = _fit(model, [batch], precision="bf16-true", num_sanity_val_steps=0)
    for name, parameter in model.named_parameters():
        assert parameter.dtype == (torch.float32 if parameter.requires_grad else torch.bfloat16), name
    assert {b.dtype for b in model.buffers() if b.is_floating_point()} == {torch.float32}
    moved = [name for name, value in start.items() if not torch.equal(value, dict(model.named_parameters())[name])]
    assert len(moved) > 0.9 * len(start)
    # Most steps are below bfloat16's resolution: with its weights they would be lost.
    lost = [
        name for name in moved if torch.equal(start[name].bfloat16(), dict(model.named_parameters())[name].bfloat16())
    ]
    assert len(lost) > 0.3 * len(start)
    assert float(trainer.callback_metrics["loss"]) == pytest.approx(float(whole["loss"]), rel=0.02)
    assert "val_loss" in trainer.callback_metrics


def test_lightnings_own_half_precision_is_refused(tiny_cfg: Callable, batch: dict[str, Any]):
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader

    trainer = Trainer(accelerator="cpu", precision="bf16-true", logger=False, enable_checkpointing=False)
    with pytest.raises(VTBError, match=r"trainer\.precision=bf16-true"):
        trainer.fit(build_model(tiny_cfg("vtb")), DataLoader([batch], batch_size=None))


def test_accumulated_micro_batches_are_one_batch(
    tiny_cfg: Callable, tokenizer: Any, conversation: Callable, clips: list[SimpleNamespace]
):
    from nemo_vtb.data.dataset import VTBDataset

    dataset = VTBDataset(tokenizer, "qwen")
    text = conversation("t", ("user", "Say hello."), ("assistant", "Hello! How are you? I hope that you are well."))
    speech = [conversation(c.path.stem, ("user", c.path), ("assistant", c.text)) for c in clips[:2]]
    cfg = tiny_cfg("vtb", optimizer={"_target_": "torch.optim.SGD", "lr": 1.0})
    cfg["perception"]["encoder"]["conv_norm_type"] = "layer_norm"
    once, thrice = build_model(cfg), build_model(cfg)
    _fit(once, [dataset[[text, *speech]]], gradient_clip_val=1.0, num_sanity_val_steps=0)
    parts = [dataset[[c]] for c in (text, *speech)]
    _fit(thrice, parts, accumulate_grad_batches=3, gradient_clip_val=1.0, num_sanity_val_steps=0)
    start = dict(build_model(cfg).named_parameters())
    for (name, expected), found in zip(once.named_parameters(), thrice.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0.0, atol=1e-5, msg=name)
    moved = [name for name, p in once.named_parameters() if not torch.equal(p, start[name])]
    assert len(moved) > 0.9 * len(once.trainable_names)


def test_a_bad_step_stops_training_and_names_the_sample(tiny_cfg: Callable, batch: dict[str, Any]):
    model = build_model(tiny_cfg("vtb"))
    bad = {**batch, "audios": batch["audios"].clone()}
    bad["audios"][1, 50] = float("inf")
    names = [conversation.id for conversation in batch["conversations"]]
    start = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(VTBError, match=f"not finite in {names[2]}\\. "):
        _fit(model, [bad], num_sanity_val_steps=0)
    assert all(torch.equal(a, b) for a, b in zip(start, model.parameters(), strict=True))


def test_a_bad_gradient_with_good_losses_stops_too(tiny_cfg: Callable, batch: dict[str, Any]):
    model = build_model(tiny_cfg("vtb"))
    broken = next(p for n, p in model.named_parameters() if "lora_B" in n)
    broken.register_hook(lambda gradient: gradient * float("nan"))
    with pytest.raises(VTBError, match="a gradient is not finite though every loss is, in a step over t, "):
        _fit(model, [batch], num_sanity_val_steps=0)


def test_as_many_bad_steps_as_allowed_are_left_out(tiny_cfg: Callable, batch: dict[str, Any]):
    model = build_model(tiny_cfg("vtb", skip_non_finite=2))
    bad = {**batch, "audios": torch.full_like(batch["audios"], float("nan"))}
    statistics = [b.clone() for n, b in model.named_buffers() if "batch_norm" in n]
    trainer = _fit(model, [bad, bad], max_steps=2, num_sanity_val_steps=0)
    assert model._guard.skipped == 2 and trainer.callback_metrics["skipped_steps"] == 1
    kept = [b for n, b in model.named_buffers() if "batch_norm" in n]
    assert all(torch.equal(a, b) for a, b in zip(statistics, kept, strict=True))
    with pytest.raises(VTBError, match="not finite"):
        _fit(model, [bad], num_sanity_val_steps=0)
