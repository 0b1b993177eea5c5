import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from two_ranks_worker import batch_statistics, build_model, gradients, trained

_WORKER = Path(__file__).with_name("two_ranks_worker.py")
_BATCH_KEYS = ("audios", "audio_lens", "input_ids", "loss_mask")


@pytest.fixture(scope="module")
def folder(
    tiny_cfg: Callable,
    tokenizer: Any,
    conversation: Callable,
    clips: list[SimpleNamespace],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A text-only batch for rank 0, audio for rank 1, and both in one."""
    from nemo_vtb import VTBDataset

    text = conversation("t", ("user", "Count to five, please."), ("assistant", "One, two, three, four, five."))
    speech = [conversation(c.path.stem, ("user", c.path), ("assistant", c.text)) for c in clips[:2]]
    dataset = VTBDataset(tokenizer, "qwen")
    folder = tmp_path_factory.mktemp("two_ranks")
    for name, conversations in (("0", [text]), ("1", speech), ("_all", [text, *speech])):
        batch = dataset[conversations]
        torch.save({key: batch[key] for key in _BATCH_KEYS}, folder / f"batch{name}.pt")
    (folder / "model.json").write_text(json.dumps(tiny_cfg("vtb")))
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, dict[str, torch.Tensor]]]:
    """What each rank ended with."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0"}
    logs = [(folder / f"rank{rank}.log").open("w+") for rank in (0, 1)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(_WORKER), str(folder)],
            env={**os.environ, **address, "LOCAL_RANK": str(rank)},
            stdout=logs[rank],
            stderr=subprocess.STDOUT,
        )
        for rank in (0, 1)
    ]
    try:
        codes = [process.wait(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for log in logs:
        log.seek(0)
    assert codes == [0, 0], "\n".join(log.read()[-3000:] for log in logs)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def one_process(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """The same step of one process that has both batches."""
    model = build_model(json.loads((folder / "model.json").read_text()))
    batch = torch.load(folder / "batch_all.pt", weights_only=True)
    optimizer = model.configure_optimizers()["optimizer"]
    model.training_step(batch, 0)["loss"].backward()
    optimizer.step()
    return {"gradients": gradients(model), "parameters": trained(model)}


def test_both_ranks_end_with_the_same_weights(ranks: list[dict[str, dict[str, torch.Tensor]]]):
    first, second = (rank["parameters"] for rank in ranks)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_gradients_are_those_of_one_process_with_both_batches(
    ranks: list[dict[str, dict[str, torch.Tensor]]], one_process: dict[str, dict[str, torch.Tensor]]
):
    expected = one_process["gradients"]
    for rank in ranks:
        assert rank["gradients"].keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(rank["gradients"][name], gradient, rtol=0.0, atol=1e-5, msg=name)
    for part in ("lora_A", "lora_B", "perception.encoder", "perception.modality_adapter"):
        assert any(part in name and float(gradient.abs().max()) > 1e-4 for name, gradient in expected.items()), part


def test_the_step_is_that_of_one_process(
    ranks: list[dict[str, dict[str, torch.Tensor]]], one_process: dict[str, dict[str, torch.Tensor]], folder: Path
):
    start = trained(build_model(json.loads((folder / "model.json").read_text())))
    moved = {name for name, value in one_process["parameters"].items() if not torch.equal(value, start[name])}
    assert moved == set(start)
    for name, value in ranks[0]["parameters"].items():
        # Adam's first step is the sign of the gradient; where that is all but zero, rounding may decide it.
        clear = one_process["gradients"][name].abs() > 1e-5
        torch.testing.assert_close(value[clear], one_process["parameters"][name][clear], rtol=0.0, atol=1e-5)


def test_validation_weighs_tokens_whatever_the_number_of_batches(
    ranks: list[dict[str, dict[str, torch.Tensor]]], folder: Path
):
    assert ranks[0]["validation"] == ranks[1]["validation"]
    model = build_model(json.loads((folder / "model.json").read_text())).eval()
    # DDP gives every rank the batch statistics of rank 0 before validation.
    model.load_state_dict({**model.state_dict(), **ranks[0]["parameters"], **ranks[0]["statistics"]})
    total, tokens = 0.0, 0
    for rank, times in ((0, 1), (1, 3)):
        batch = torch.load(folder / f"batch{rank}.pt", weights_only=True)
        with torch.no_grad():
            losses, _, _ = model.compute_losses(batch, *model.encode_clips(batch))
        total, tokens = total + times * float(losses.sum()), tokens + times * len(losses)
    assert float(ranks[0]["validation"]["val_loss"]) == pytest.approx(total / tokens, abs=1e-4)


def test_the_text_only_rank_leaves_batch_statistics_alone(
    ranks: list[dict[str, dict[str, torch.Tensor]]], folder: Path
):
    start = batch_statistics(build_model(json.loads((folder / "model.json").read_text())))
    assert start and start.keys() == ranks[0]["statistics"].keys()
    assert all(torch.equal(value, ranks[0]["statistics"][name]) for name, value in start.items())
    assert not all(torch.equal(value, ranks[1]["statistics"][name]) for name, value in start.items())
