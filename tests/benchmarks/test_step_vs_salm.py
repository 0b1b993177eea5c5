"""The benchmark of the joint step at tiny sizes: the code path of the GPU variant, and what makes it fair."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

_FOLDER = Path(__file__).parents[2] / "examples" / "benchmarks"
_PER_BATCH = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the arms share, made by the benchmark itself."""
    sys.path.insert(0, str(_FOLDER))
    import step_job
    import step_vs_salm

    folder = tmp_path_factory.mktemp("step_vs_salm")
    step_job.prepare("tiny", folder, step_vs_salm._OURS["tiny"], 12, 0, 0.05)
    yield folder
    sys.path.remove(str(_FOLDER))


@pytest.fixture(scope="module")
def arms(folder: Path) -> dict[str, dict[str, Any]]:
    import step_job
    import step_vs_salm

    plans = step_job.plans(folder, _PER_BATCH)
    return {
        arm: step_vs_salm.summary(step_job.run_arm(arm, folder, plans[arm][0], "cpu", 0)) for arm in step_vs_salm.ARMS
    }


def test_every_arm_learns_the_same_from_the_same_conversations(arms: dict[str, dict[str, Any]]):
    for key in ("supervised_tokens", "positions", "steps"):
        assert len({arm[key] for arm in arms.values()}) == 1, key
    losses = [arm["loss"] for arm in arms.values()]
    assert max(losses) - min(losses) < 0.01 and min(losses) > 1


def test_the_keys_that_are_read_are_there(arms: dict[str, dict[str, Any]]):
    import step_vs_salm
    from tables import table

    keys = {"supervised_tokens_per_s", "positions_per_s", "peak_memory_mb", "padding_share", "data_wait_share", "loss"}
    assert all(keys <= arm.keys() for arm in arms.values())
    assert {"static", "bucketed", "memory"} <= step_vs_salm.ratios(arms).keys()
    assert arms["ours"]["padding_share"] < arms["salm_bucketed"]["padding_share"] < arms["salm_static"]["padding_share"]
    assert all(arm["peak_memory_mb"] > arm["peak_above_model_mb"] >= 0 for arm in arms.values())
    json.dumps(arms, allow_nan=False)
    used = {name: arm | step_vs_salm.utilisation(arm, 1e9, 1e11, "cpu") for name, arm in arms.items()}
    assert all(arm["mfu"] == pytest.approx(0.01 / arm["cpu_seconds"]) for arm in used.values())
    shown = table("step_vs_salm_cpu", step_vs_salm_cpu={**used, "ratio": step_vs_salm.ratios(arms)})
    assert shown.count("\n|") == 11 and "SALM, static batches" in shown and "ours to this" in shown


def test_batches_hold_every_conversation_once_and_a_clip_each(folder: Path):
    import step_mix

    rows = [(100, 0.0)] * 5 + [(30, 2.0)] * 3 + [(90, 5.0)] * 2 + [(400, 0.0)] * 2
    lengths = [step_mix.Length(total, 10, seconds) for total, seconds in rows]
    for made in (step_mix.static_batches(lengths, 5), step_mix.bucketed_batches(lengths, 3)):
        assert sorted(i for batch in made for i in batch) == list(range(12)) and len(made) <= 3
        assert all(any(lengths[i].has_audio for i in batch) for batch in made)


@pytest.mark.parametrize("arm", ["ours", "salm_bucketed"])
def test_the_largest_batch_is_looked_for_up_to_a_bound(folder: Path, arm: str):
    import step_job

    assert step_job.largest_batch(arm, folder, arm == "salm_bucketed", "cpu", 3) == 3


def test_the_profile_names_where_the_time_goes(folder: Path):
    import step_job

    shares = list(step_job.profile(folder, [0, 1, 2], "cpu").values())
    assert len(shares) == 12 and shares == sorted(shares, reverse=True) and 0.2 < sum(shares) <= 1


def test_useful_flops_count_layers_head_encoder_and_attention(folder: Path):
    import step_arm
    import step_flops
    import step_mix

    model = step_arm.build("ours", folder)
    one = step_mix.Length(10, 4, 0.0)
    layers = model.backbone.causal_lm.model.layers
    frozen = sum(p.numel() for n, p in layers.named_parameters() if "lora_" not in n)
    lora = sum(p.numel() for n, p in layers.named_parameters() if "lora_" in n)
    text = 10 * (4 * frozen + 6 * lora) + 4 * 4 * 512 * 64 + 2 * 6 * 64 * 10**2
    assert step_flops.useful_flops(model, [one], 0.08) == text
    heard = step_flops.useful_flops(model, [step_mix.Length(10, 4, 0.8)], 0.08) - text
    adapter = sum(p.numel() for p in model.perception.modality_adapter.parameters())
    encoder = sum(p.numel() for p in model.perception.encoder.layers.parameters())
    assert heard == pytest.approx(10 * (2 * encoder + 6 * adapter))
    assert step_flops.peak_flops("NVIDIA H100 80GB HBM3") == 989e12 and step_flops.peak_flops("another") is None
