"""A silent or a stuck rank ends the job and is named; a slow one is left alone."""

import os
import signal
from pathlib import Path

import pytest
from ranks import exit_codes, start_ranks
from test_preemption import wait_for
from tiny_training import train

from nemo_vtb.callbacks.heartbeat import EXIT_CODE, Position, find_missing

NAMES = {0: "rank 0 on a", 1: "rank 1 on b", 2: "rank 2 on c"}
LIMITS = {"silent_after": 25.0, "stuck_after": 40.0}


def seen(*places: tuple[int, str, float, float], longest: float = 0.0) -> dict:
    """``(step, phase, seconds since a beat, seconds since a tick)`` of each rank, at time 100."""
    return {
        rank: (Position(1, 1, step, phase, longest), 100.0 - beat, 100.0 - tick)
        for rank, (step, phase, beat, tick) in enumerate(places)
    }


def test_nobody_is_missed_while_ranks_move():
    assert find_missing(NAMES, seen((5, "step", 1, 1), (5, "data", 1, 39), (4, "step", 2, 2)), 100.0, **LIMITS) is None


def test_a_silent_rank_is_named():
    places = seen((5, "step", 1, 30), (5, "step", 26, 30), (5, "step", 1, 30))
    assert find_missing(NAMES, places, 100.0, **LIMITS) == (
        "rank 1 on b gave no sign of life for 26 s, last in step 5 (step)"
    )


def test_the_rank_furthest_back_holds_up_the_others():
    places = seen((5, "step", 1, 41), (5, "step", 1, 41), (5, "data", 1, 41))
    assert find_missing(NAMES, places, 100.0, **LIMITS) == (
        "rank 2 on c stood still for 41 s in step 5 (data), others wait"
    )


def test_slow_steps_raise_the_limit():
    places = seen((5, "step", 1, 41), (5, "data", 1, 41), longest=5.0)
    assert find_missing(NAMES, places, 100.0, **LIMITS) is None


@pytest.mark.parametrize("phase", ["start", "save", "validation"])
def test_what_may_take_long_is_not_limited(phase: str):
    places = seen((5, "step", 1, 500), (5, phase, 1, 500))
    assert find_missing(NAMES, places, 100.0, **LIMITS) is None


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_stopped_process_ends_the_job_with_its_name(stopped: int, run_folder: Path):
    processes = start_ranks(train, run_folder, "log", steps=500, every=500, dawdle=("step", 0.2), heartbeat=(6.0, 60.0))
    for rank in (0, 1):
        wait_for(run_folder / f"in_step.{rank}")
    os.kill(processes[stopped].pid, signal.SIGSTOP)
    processes[1 - stopped].join(60)
    os.kill(processes[stopped].pid, signal.SIGKILL)
    assert exit_codes(processes)[1 - stopped] == EXIT_CODE
    assert (run_folder / "failure.txt").read_text().startswith(f"rank {stopped}")


def test_a_rank_whose_step_never_ends_is_named(run_folder: Path):
    options = {"steps": 500, "every": 500, "heartbeat": (60.0, 6.0)}
    processes = start_ranks(train, run_folder, "log", dawdle=("data", 3600, 1), **options)
    assert 0 not in (codes := exit_codes(processes, timeout=60)) and EXIT_CODE in codes
    assert "rank 1 on" in (run_folder / "failure.txt").read_text()
    assert "stood still" in (run_folder / "failure.txt").read_text()
