"""What TensorBoard is told, by two ranks."""

from pathlib import Path

import pytest
from ranks import run_ranks
from tiny_training import go_back, train

from nemo_vtb.data.conversations.kinds import KINDS

SHARE = "data/share_supervised_tokens/{}"


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    """``{name: {step: value}}`` of the newest run in a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    newest = max((folder / "lightning_logs").iterdir(), key=lambda path: int(path.name.removeprefix("version_")))
    events = EventAccumulator(str(newest)).Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


def test_tensorboard_has_every_number_and_shares_go_on_after_a_resume(run_folder: Path):
    options = {"strategy": "ddp", "every": 2, "logger": True, "log_every_n_steps": 2}
    assert run_ranks(train, run_folder, "whole", steps=4, keep=2, **options) == [0, 0]
    whole = scalars(run_folder)
    go_back(run_folder)
    assert run_ranks(train, run_folder, "second", steps=4, resume=True, **options) == [0, 0]
    resumed = scalars(run_folder)

    # Lightning counts steps from 0.
    assert set(whole["tokens_per_second"]) == {1, 3} and set(resumed["tokens_per_second"]) == {3}
    present = [kind for kind in KINDS if SHARE.format(kind) in whole]
    assert present == ["text", "asr"]
    for kind in present:
        assert whole[f"loss_{kind}"][3] == pytest.approx(resumed[f"loss_{kind}"][3])
        assert 0 <= whole[f"acc_{kind}"][3] <= 1
        assert resumed[SHARE.format(kind)][3] == pytest.approx(whole[SHARE.format(kind)][3])
    assert sum(whole[SHARE.format(kind)][3] for kind in present) == pytest.approx(1)
    last = {name: steps[3] for name, steps in whole.items() if 3 in steps}
    assert last["tokens_per_second"] > last["supervised_tokens_per_second"] > 0
    assert last["audio_seconds_per_second"] > 0 and last["step_seconds"] > 0
    assert 0 < last["data_wait_share"] < 1 and last["step_seconds_spread"] >= 0
    assert 0.05 < last["peak_memory_gb"] < 20


def test_a_logger_that_is_to_hear_nothing_hears_nothing(run_folder: Path):
    train(run_folder, "quiet", devices=1, strategy="auto", steps=2, every=2, logger=True, log_every_n_steps=0)
    assert (run_folder / "checkpoints" / "last.ckpt").exists() and "loss" not in scalars(run_folder)
