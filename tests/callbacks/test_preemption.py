"""A signal during a step, a validation or a save: every rank leaves in order, and the run goes on as if it had not."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from ranks import exit_codes, run_ranks, start_ranks
from tiny_training import CHECKPOINT, recorded, train

from nemo_vtb.models.checkpoints.file import read_checkpoint

STEPS = 8
OPTIONS = {"steps": STEPS, "every": 3, "validate_every": 4}


def wait_for(path: Path, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, write_run: Callable[[Path], Path]) -> list[list[dict[str, Any]]]:
    """What each rank recorded of a run without a signal."""
    folder = write_run(tmp_path_factory.mktemp("whole"))
    assert run_ranks(train, folder, "whole", **OPTIONS) == [0, 0]
    return [recorded(folder, "whole", rank) for rank in (0, 1)]


@pytest.mark.parametrize(
    ("place", "number", "ranks"),
    [("step", signal.SIGUSR1, (0, 1)), ("validation", signal.SIGUSR1, (0, 1)), ("save", signal.SIGTERM, (1,))],
)
def test_a_signal_leaves_a_checkpoint_to_go_on_from(
    place: str, number: signal.Signals, ranks: tuple[int, ...], run_folder: Path, whole: Any
):
    processes = start_ranks(train, run_folder, "first", dawdle=(place, 0.3), **OPTIONS)
    for rank in ranks:
        wait_for(run_folder / f"in_{place}.{rank}")
    for rank in ranks:
        os.kill(processes[rank].pid, number)
    assert exit_codes(processes, timeout=60) == [0, 0]
    checkpoint = read_checkpoint(run_folder / CHECKPOINT)
    first = recorded(run_folder, "first", 0)
    assert 0 < checkpoint["global_step"] == first[-1]["step"] < STEPS
    assert run_ranks(train, run_folder, "second", resume=True, **OPTIONS) == [0, 0]
    for rank in (0, 1):
        both = recorded(run_folder, "first", rank) + recorded(run_folder, "second", rank)
        assert both == whole[rank]


def test_what_an_earlier_run_left_is_kept_where_the_config_names_no_last_checkpoint(run_folder: Path):
    """A launcher of one's own, with a ModelCheckpoint that keeps the best only."""
    options = {**OPTIONS, "every": None, "more": (ModelCheckpoint(save_top_k=0),), "dawdle": ("step", 0.3)}
    for name, resume in (("first", False), ("anew", False), ("goes on", True)):
        (run_folder / "in_step.0").unlink(missing_ok=True)
        processes = start_ranks(train, run_folder, name, resume=resume, **options)
        wait_for(run_folder / "in_step.0")
        os.kill(processes[0].pid, signal.SIGTERM)
        assert exit_codes(processes, timeout=60) == [0, 0]
    kept = {path.name: read_checkpoint(path)["global_step"] for path in (run_folder / "checkpoints").glob("*.ckpt")}
    first, anew, went_on = (recorded(run_folder, name, 0)[-1]["step"] for name in ("first", "anew", "goes on"))
    assert kept == {"last-v1.ckpt": first, "last.ckpt": went_on} and went_on > anew
