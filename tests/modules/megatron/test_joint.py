"""Joint training on megatron-core: the losses of Hugging Face's backbone, over any ranks, resumed over others."""

import json
from pathlib import Path
from typing import Any

import pytest
from megatron_joint import JOINT, run, write_run
from ranks import run_ranks
from tiny_training import recorded

MEGATRON = {"llm_backend": "megatron"}
IN_TWO = MEGATRON | {"tensor_model_parallel_size": 2}
DROPOUT = {"lora": {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "lora_dropout": 0.2, "target_modules": "auto"}}
STEPS = 20


def trained(folder: Path, ranks: int, log: str = "log", **options: Any) -> list[list[float]]:
    """Losses of each rank."""
    assert run_ranks(run, folder, log, ranks, ranks=ranks, **options) == [0] * ranks
    return [[float.fromhex(row["loss"]) for row in recorded(folder, log, rank)] for rank in range(ranks)]


def test_twenty_joint_steps_are_those_of_hugging_face(tmp_path: Path):
    expected = trained(write_run(tmp_path / "hf", **JOINT), 1, fixed=True, steps=STEPS, every=100)[0]
    assert len(expected) == STEPS and expected[-1] < 0.8 * expected[0]
    for name, model in {"two": IN_TWO, "two, rows cut": IN_TWO | {"sequence_parallel": True}}.items():
        folder = write_run(tmp_path / name, **JOINT, **model)
        recompute = {"activation_checkpointing": ["llm"]} if "rows" in name else {}
        change_model(folder, **recompute)
        losses = trained(folder, 2, fixed=True, steps=STEPS, every=100)
        assert losses[0] == losses[1]
        assert losses[0] == pytest.approx(expected, rel=1e-5), name


def test_two_groups_of_two_train_as_two_ranks(tmp_path: Path):
    options = {"fixed": True, "steps": 3, "every": 100, "accumulate_grad_batches": 2}
    expected = trained(write_run(tmp_path / "hf", **JOINT), 2, **options)
    losses = trained(write_run(tmp_path / "groups", **JOINT, **IN_TWO), 4, **options)
    assert losses[0] == losses[1] and losses[2] == losses[3] and losses[0] != losses[2]
    for group, rank in ((0, 0), (2, 1)):
        assert losses[group] == pytest.approx(expected[rank], rel=1e-5)
        samples, theirs = (
            [row["samples"] for row in recorded(tmp_path / name, "log", of)]
            for name, of in (("groups", group), ("hf", rank))
        )
        assert samples == theirs


def test_a_run_goes_on_over_other_ranks(tmp_path: Path):
    """With dropout and clipping, whose masks and norm do not depend on how the LLM is cut."""
    options = {"every": 100, "gradient_clip_val": 0.3}
    whole = trained(write_run(tmp_path / "one", **JOINT, **MEGATRON, **DROPOUT), 1, steps=6, **options)[0]
    in_two = trained(write_run(tmp_path / "two", **JOINT, **IN_TWO, **DROPOUT), 2, steps=6, **options)[0]
    assert in_two == pytest.approx(whole, rel=1e-5)
    for first, then in (((2, 2), (2, 2)), ((2, 2), (1, 1)), ((1, 1), (2, 2))):
        folder = tmp_path / f"{first} {then}"
        write_run(folder, **JOINT, **MEGATRON, **DROPOUT, tensor_model_parallel_size=first[1])
        trained(folder, first[0], steps=3, **options)
        change_model(folder, tensor_model_parallel_size=then[1])
        rest = trained(folder, then[0], "rest", steps=6, resume=True, **options)[0]
        assert rest == pytest.approx(whole[3:], rel=1e-5), folder
        if first == then:
            assert rest == in_two[3:]


def change_model(folder: Path, **changed: Any) -> None:
    cfg = json.loads((folder / "config.json").read_text())
    cfg["model"] |= changed
    (folder / "config.json").write_text(json.dumps(cfg))
