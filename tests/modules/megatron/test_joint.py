"""Joint training on megatron-core: the losses of Hugging Face's backbone, over any ranks, resumed over others."""

import json
from pathlib import Path
from typing import Any

import pytest
from megatron_joint import JOINT, run, write_run
from ranks import run_ranks
from tiny_training import go_back, recorded

MEGATRON = {"llm_backend": "megatron"}
IN_TWO = MEGATRON | {"tensor_model_parallel_size": 2}
DROPOUT = {"lora": {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "lora_dropout": 0.2, "target_modules": "auto"}}
STEPS = 20


def trained(folder: Path, ranks: int, log: str = "log", **options: Any) -> list[list[float]]:
    """Losses of each rank."""
    assert run_ranks(run, folder, log, ranks, ranks=ranks, **options) == [0] * ranks
    return [[float.fromhex(row["loss"]) for row in recorded(folder, log, rank)] for rank in range(ranks)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Losses of Hugging Face's backbone in single precision."""
    folder = write_run(tmp_path_factory.mktemp("expected") / "hf", **JOINT)
    return trained(folder, 1, fixed=True, steps=STEPS, every=100)[0]


def test_twenty_joint_steps_are_those_of_hugging_face(expected: list[float], tmp_path: Path):
    assert len(expected) == STEPS and expected[-1] < 0.8 * expected[0]
    for name, model in {"two": IN_TWO, "two, rows cut": IN_TWO | {"sequence_parallel": True}}.items():
        folder = write_run(tmp_path / name, **JOINT, **model)
        recompute = {"activation_checkpointing": ["llm"]} if "rows" in name else {}
        change_model(folder, **recompute)
        losses = trained(folder, 2, fixed=True, steps=STEPS, every=100)
        assert losses[0] == losses[1]
        assert losses[0] == pytest.approx(expected, rel=1e-5), name


def test_half_precision_is_as_far_off_as_that_of_hugging_face(expected: list[float], tmp_path: Path):
    """The trial at the build included, which stops what is more than rounding."""
    options = {"fixed": True, "steps": 6, "every": 100, "precision": "bf16-mixed"}
    half = {"llm_dtype": "bfloat16"}
    theirs = trained(write_run(tmp_path / "hf", **JOINT, **half), 1, **options)[0]
    ours = trained(write_run(tmp_path / "two", **JOINT, **IN_TWO, **half), 2, **options)
    rounding = max(abs(one - exact) for one, exact in zip(theirs, expected[:6], strict=True))
    assert ours[0] == ours[1] and 0 < rounding < 0.05
    assert ours[0] == pytest.approx(expected[:6], abs=2 * rounding)


def test_what_is_whole_on_every_rank_of_a_group_stays_one(tmp_path: Path):
    """Perception, alignment and the uncut factors of LoRA, although each rank finds other gradients of them."""
    for averaged in (True, False):
        folder = write_run(tmp_path / str(averaged), **JOINT, **IN_TWO)
        trained(folder, 2, steps=3, every=100, averaged=averaged, gradient_clip_val=0.3)
        first, second = (json.loads((folder / f"whole.{rank}").read_text()) for rank in (0, 1))
        assert {"llm", "perception"} <= set(first["parts"]), first
        assert (first["digest"] == second["digest"]) is averaged


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
    options = {"steps": 6, "gradient_clip_val": 0.3}
    folders = {size: write_run(tmp_path / str(size), **JOINT, **MEGATRON, **DROPOUT) for size in (1, 2)}
    whole = {}
    for size, folder in folders.items():
        change_model(folder, tensor_model_parallel_size=size)
        whole[size] = trained(folder, size, keep=3, every=3, **options)[0]
    assert whole[2] == pytest.approx(whole[1], rel=1e-5)
    for first, then in ((2, 2), (2, 1), (1, 2)):
        folder = folders[first]
        go_back(folder)
        change_model(folder, tensor_model_parallel_size=then)
        rest = trained(folder, then, f"rest{then}", resume=True, every=100, **options)[0]
        assert len(rest) == 3 and rest == pytest.approx(whole[1][3:], rel=1e-5), (first, then)
        if first == then:
            assert rest == whole[2][3:]


def change_model(folder: Path, **changed: Any) -> None:
    cfg = json.loads((folder / "config.json").read_text())
    cfg["model"] |= changed
    (folder / "config.json").write_text(json.dumps(cfg))
