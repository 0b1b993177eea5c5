"""The cluster's own line, ``vtb launch slurm ... -- vtb train --config-name=... +cluster=slurm``, on a real Slurm."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from forks import Forks
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nemo_vtb.cli import main
from nemo_vtb.models.checkpoints.file import read_checkpoint, read_progress

STEPS = 60


@pytest.fixture
def line(slurm: SimpleNamespace, run_folder: Path, capfd: pytest.CaptureFixture) -> Callable[[Path], str]:
    """Submits the line for a folder, on two nodes; returns the job's number. ``vtb`` is what PATH has."""
    config = json.loads((run_folder / "config.json").read_text())
    quiet = dict.fromkeys(("enable_progress_bar", "enable_model_summary"), False)
    config["trainer"] = {"accelerator": "cpu", "devices": 1, "max_steps": STEPS, "log_every_n_steps": 1, **quiet}
    config["trainer"] |= {"limit_val_batches": 0, "strategy": "ddp"}
    (run_folder / "mine.yaml").write_text(OmegaConf.to_yaml(config))

    def submit(folder: Path) -> str:
        options = ["--nodes=2", "--gpus-per-node=0", "--cpus-per-task=1", "--time=15"]
        train = ["vtb", "train", "--config-name=mine", f"--config-dir={run_folder}", "+cluster=slurm"]
        # Seldom enough for something to be lost; a rank waits less for rank 0 to make the folder.
        train += ["trainer.callbacks.0.every_n_train_steps=10", "+exp_manager.seconds_to_sleep=1"]
        assert main(["launch", "slurm", "--run", str(folder), *options, "--", *train]) == 0
        return capfd.readouterr().out.strip()

    return submit


def output(folder: Path, job: str) -> str:
    path = folder / "slurm" / f"{job}.out"
    # A rank may be in the middle of a character of its progress bar.
    return path.read_text(errors="replace") if path.exists() else ""


def ended(folder: Path, job: str) -> bool:
    said = output(folder, job)
    assert "gave up" not in said, said
    return f"finished: step {STEPS} of {STEPS}" in said


def step(folder: Path) -> int:
    return read_progress(folder / "checkpoints")[0]


def rank_of(folder: Path, rank: int) -> int | None:
    """The process that stands for a rank, by its environment."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        wanted = {f"VTB_RUN={folder}".encode(), f"RANK={rank}".encode()}
        if wanted <= set(variables) and any(word.endswith(b"/fork_stub.py") for word in command):
            return int(entry.name)
    return None


def losses(folder: Path) -> dict[int, list[float]]:
    """Every value that was logged for a step, in whichever attempt."""
    found: dict[int, list[float]] = {}
    for path in folder.glob("events.out.tfevents*"):
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
        for event in events.Scalars("loss") if "loss" in events.Tags()["scalars"] else ():
            found.setdefault(event.step, []).append(event.value)
    return found


def test_signalled_killed_and_requeued_it_trains_as_if_nothing_had_been(
    line: Callable[[Path], str],
    run_folder: Path,
    until: Callable[..., None],
    forked: Forks,
    monkeypatch: pytest.MonkeyPatch,
):
    """The whole run is of the installed command; attempts of the other are forks, which import nothing anew."""
    whole, disturbed = run_folder / "whole", run_folder / "disturbed"
    job = line(whole)
    until(lambda: ended(whole, job), f"the end of job {job}", 400)

    monkeypatch.setenv("PATH", f"{Path(forked.python).parent}{os.pathsep}{os.environ['PATH']}")
    job = line(disturbed)
    until(lambda: step(disturbed) >= 10, "step 10", 300)
    subprocess.run(["scancel", "--batch", "--signal=USR1", job], check=True)
    until(lambda: "requeued at step" in output(disturbed, job), "the requeue", 120)
    reached = step(disturbed)
    until(lambda: step(disturbed) > reached, "a checkpoint of the second attempt", 300)
    os.kill(rank_of(disturbed, 1), signal.SIGKILL)
    until(lambda: ended(disturbed, job), f"the end of job {job}", 400)

    told = output(disturbed, job)
    assert "got SIGUSR1" in told and told.count("requeued at step") == 2
    expected, seen = losses(whole), losses(disturbed)
    # Loggers hear of a step behind the place where a run leaves: of the step before each checkpoint that another
    # attempt went on from they may have nothing.
    left = {int(number) - 1 for number in re.findall(r"requeued at step (\d+)", told)}
    assert len(expected) == STEPS and set(expected) - set(seen) <= left
    assert all(value == expected[number][0] for number, values in seen.items() for value in values)
    assert same(
        read_checkpoint(whole / "checkpoints" / "last.ckpt"), read_checkpoint(disturbed / "checkpoints" / "last.ckpt")
    )


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    weights, others = one["state_dict"], other["state_dict"]
    return set(weights) == set(others) and all(torch.equal(tensor, others[name]) for name, tensor in weights.items())
