"""Attention, torch.compile and device waits: how the step runs, never what is learnt."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from two_ranks_worker import build_model

from nemo_vtb.errors import VTBError


@pytest.fixture(scope="module")
def batches(tokenizer: Any, conversation: Callable, clips: list[SimpleNamespace]) -> dict[str, Any]:
    """Two conversations, and eight of the same make."""
    from nemo_vtb.data.dataset import VTBDataset

    dataset = VTBDataset(tokenizer, "qwen")

    def pairs(number: int) -> list[Any]:
        made = []
        for index in range(number):
            clip = clips[index % len(clips)]
            made.append(conversation(f"t{index}", ("user", f"Say {index}."), ("assistant", "Hello!"), kind="text"))
            made.append(conversation(f"a{index}", ("user", clip.path), ("assistant", clip.text), kind="asr"))
        return made

    return {"two": dataset[pairs(1)], "eight": dataset[pairs(4)]}


def _step(model: Any, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
    model.configure_model()
    loss = model.training_step(batch, 0)["loss"]
    loss.backward()
    return {"loss": loss.detach(), **{n: p.grad for n, p in model.named_parameters() if p.requires_grad}}


def _assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.0, atol=1e-5, msg=name)


@pytest.fixture(scope="module")
def expected(tiny_cfg: Callable, batches: dict[str, Any]) -> dict[str, torch.Tensor]:
    return _step(build_model(tiny_cfg("vtb")), batches["eight"])


@pytest.mark.parametrize("attention", ["auto", "sdpa", "eager"])
def test_attention_implementations_agree(
    tiny_cfg: Callable, batches: dict[str, Any], expected: dict[str, torch.Tensor], attention: str
):
    model = build_model(tiny_cfg("vtb", attn_implementation=attention))
    used = model.backbone.causal_lm.config._attn_implementation
    assert used == ("eager" if attention == "eager" else "sdpa")
    _assert_same(_step(model, batches["eight"]), expected)


def test_rows_of_any_length_agree(tiny_cfg: Callable, batches: dict[str, Any], expected: dict[str, torch.Tensor]):
    for row_tokens in (0, 64):
        _assert_same(_step(build_model(tiny_cfg("vtb", row_tokens=row_tokens)), batches["eight"]), expected)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("attn_implementation", "flash_attention_2", r"model\.attn_implementation=flash_attention_2"),
        ("attn_implementation", "fastest", r"model\.attn_implementation is 'fastest'; it may be auto, sdpa, "),
        ("compile", "llm", r"model\.compile is 'llm'; it is a list of llm, encoder"),
        ("activation_checkpointing", ["adapter"], r"model\.activation_checkpointing is 'adapter'; it may be "),
        ("loss_chunk", 0, r"model\.loss_chunk is 0; it is int of at least 1"),
    ],
)
def test_what_cannot_be_had_is_refused_by_key(tiny_cfg: Callable, key: str, value: Any, message: str):
    with pytest.raises(VTBError, match=message):
        build_model(tiny_cfg("vtb", **{key: value}))


def test_flex_attention_is_refused_on_a_cpu(tiny_cfg: Callable, batches: dict[str, Any]):
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader

    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_model_summary=False)
    model = build_model(tiny_cfg("vtb", attn_implementation="flex_attention", prove=False))
    with pytest.raises(VTBError, match="flex_attention trains on a GPU only"):
        trainer.fit(model, DataLoader([batches["two"]], batch_size=None))


def test_compiled_and_recomputed_layers_compute_the_same(
    tiny_cfg: Callable, batches: dict[str, Any], expected: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
):
    from torch._dynamo.utils import counters

    # Layers are traced and differentiated as graphs; the C++ that inductor makes of those takes minutes.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **given: compile_(function, backend="aot_eager", **given))
    torch._dynamo.reset()
    counters.clear()
    both = ["llm", "encoder"]
    found = _step(build_model(tiny_cfg("vtb", compile=both, activation_checkpointing=both)), batches["eight"])
    assert counters["stats"]["unique_graphs"] >= 2
    _assert_same(found, expected)


class _Waits(TorchDispatchMode):
    """Counts what would make a GPU's host wait: values and numbers of matches read back."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        self.count += name in ("_local_scalar_dense", "nonzero", "masked_select", "equal")
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def test_no_example_waits_for_the_device(tiny_cfg: Callable, batches: dict[str, Any]):
    from nemo.collections.speechlm2.models import SALM

    cfg = tiny_cfg("vtb")
    ours = build_model(cfg)
    # Filled in by our constructor.
    stock = SALM({**cfg, "perception": ours.cfg.perception})

    def waits(prepare: Callable, name: str) -> int:
        with _Waits() as seen:
            prepare(batches[name])
        return seen.count

    def splice(batch: dict[str, Any]) -> None:
        ours.compute_losses(batch, *ours.encode_clips(batch))

    assert waits(splice, "eight") == waits(splice, "two")
    assert waits(stock.prepare_inputs, "eight") > waits(stock.prepare_inputs, "two") + 30


def test_what_data_parallelism_reduces_is_settled_at_construction(tiny_cfg: Callable):
    model = build_model(tiny_cfg("vtb"))
    before = {name for name, p in model.named_parameters() if p.requires_grad}
    optimizer = model.configure_optimizers()["optimizer"]
    assert before == {name for name, p in model.named_parameters() if p.requires_grad} == set(model.trainable_names)
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in model.parameters() if p.requires_grad}
    assert not [name for name in before if name.startswith(("llm.", "embed_tokens.")) and "lora_" not in name]
