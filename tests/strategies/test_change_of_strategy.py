"""A checkpoint of any strategy goes on under any other: weights, optimizer and data."""

from pathlib import Path

import pytest
from ranks import run_ranks
from tiny_training import CHECKPOINT, recorded, train

from nemo_vtb.models.checkpoints.file import read_checkpoint
from nemo_vtb.models.load import load_checkpoint

CHAIN = ("ddp", "vtb_fsdp2", "hybrid of 2", "Lightning's FSDP2", "ddp", "hybrid of 2", "vtb_fsdp2")


def losses(rows: list[dict]) -> list[float]:
    return [float.fromhex(row["loss"]) for row in rows]


def test_each_strategy_goes_on_from_the_others(run_folder: Path):
    assert run_ranks(train, run_folder, "whole", "ddp", steps=len(CHAIN), every=100) == [0, 0]
    whole = read_checkpoint(run_folder / CHECKPOINT)
    (run_folder / CHECKPOINT).unlink()
    for done, strategy in enumerate(CHAIN):
        assert run_ranks(train, run_folder, "chain", strategy, done + 1, 100, resume=done > 0) == [0, 0], strategy
    for rank in (0, 1):
        expected, got = (recorded(run_folder, log, rank) for log in ("whole", "chain"))
        assert [row["samples"] for row in got] == [row["samples"] for row in expected]
        assert losses(got) == pytest.approx(losses(expected), abs=2e-4)
    chain = read_checkpoint(run_folder / CHECKPOINT)
    assert chain["state_dict"].keys() == whole["state_dict"].keys()
    ours, theirs = chain["optimizer_states"][0], whole["optimizer_states"][0]
    assert ours["state"].keys() == theirs["state"].keys() == set(chain["vtb"]["trained"])
    assert [group["params"] for group in ours["param_groups"]] == [group["params"] for group in theirs["param_groups"]]
    assert load_checkpoint(run_folder / CHECKPOINT).trainable_names == chain["vtb"]["trained"]


def test_hybrid_sharding_of_four_ranks_trains_as_ddp(run_folder: Path):
    options = {"steps": 3, "every": 100, "devices": 4, "ranks": 4}
    for strategy in ("ddp", "hybrid of 2"):
        assert run_ranks(train, run_folder, strategy, strategy, **options) == [0] * 4
    for rank in range(4):
        expected, got = (recorded(run_folder, log, rank) for log in ("ddp", "hybrid of 2"))
        assert losses(got) == pytest.approx(losses(expected), abs=2e-4)
