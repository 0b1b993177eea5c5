"""A signal during a step, a validation or a save: every rank leaves in order, and the run goes on as if it had not."""

import os
import signal
import time
from pathlib import Path

import pytest
from ranks import exit_codes, run_ranks, start_ranks
from tiny_training import CHECKPOINT, recorded, train

from nemo_vtb.models.checkpoints.file import read_checkpoint

STEPS = 8


def wait_for(path: Path, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("place", "number", "ranks"),
    [("step", signal.SIGUSR1, (0, 1)), ("validation", signal.SIGUSR1, (0, 1)), ("save", signal.SIGTERM, (1,))],
)
def test_a_signal_leaves_a_checkpoint_to_go_on_from(
    place: str, number: signal.Signals, ranks: tuple[int, ...], run_folder: Path
):
    options = {"steps": STEPS, "every": 3, "validate_every": 4}
    processes = start_ranks(train, run_folder, "first", dawdle=(place, 0.3), **options)
    for rank in ranks:
        wait_for(run_folder / f"in_{place}.{rank}")
    for rank in ranks:
        os.kill(processes[rank].pid, number)
    assert exit_codes(processes, timeout=60) == [0, 0]
    checkpoint = read_checkpoint(run_folder / CHECKPOINT)
    first = recorded(run_folder, "first", 0)
    assert 0 < checkpoint["global_step"] == first[-1]["step"] < STEPS
    assert run_ranks(train, run_folder, "second", resume=True, **options) == [0, 0]
    assert run_ranks(train, run_folder, "whole", **options) == [0, 0]
    for rank in (0, 1):
        both = recorded(run_folder, "first", rank) + recorded(run_folder, "second", rank)
        assert both == recorded(run_folder, "whole", rank)
