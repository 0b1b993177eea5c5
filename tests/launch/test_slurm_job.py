"""examples/slurm/train.sbatch on a real Slurm of two nodes: what ends a job, and that it goes on as if nothing had."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ranks import run_ranks
from tiny_training import CHECKPOINT, recorded, train

from nemo_vtb.cli import main
from nemo_vtb.models.checkpoints.file import read_checkpoint, read_progress

STEPS = 12
OPTIONS = {"steps": STEPS, "every": 3, "strategy": "ddp"}


@pytest.fixture
def launch(slurm: SimpleNamespace, capfd: pytest.CaptureFixture) -> Callable[..., str]:
    """Submits with ``vtb launch slurm`` on two nodes; returns the job's number."""

    def submit(folder: Path, *command: str, failures: int = 3) -> str:
        options = ["--nodes=2", "--gpus-per-node=0", "--cpus-per-task=1", "--time=5", f"--max-failures={failures}"]
        assert main(["launch", "slurm", "--run", str(folder), *options, "--", *command]) == 0
        return capfd.readouterr().out.strip()

    return submit


def output(folder: Path, job: str) -> str:
    path = folder / "slurm" / f"{job}.out"
    return path.read_text() if path.exists() else ""


def state(job: str) -> str:
    fields = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, timeout=30).stdout
    return fields.partition("JobState=")[2].split()[0]


def reached(folder: Path, step: int, attempt: int = 1) -> bool:
    """Whether the attempt that many trained this step."""
    path = folder / "slurm.1"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return sum(row["step"] == step for row in rows) >= attempt or any(row["step"] > step for row in rows)


def test_a_run_goes_on_through_signal_kill_and_stop(
    launch: Callable[..., str], rank_command: list[str], run_folder: Path, until: Callable[..., None]
):
    assert run_ranks(train, run_folder, "whole", **OPTIONS) == [0, 0]
    (run_folder / CHECKPOINT).unlink()
    (run_folder / "checkpoints" / "progress").unlink()
    options = OPTIONS | {"dawdle": ("step", 0.3), "heartbeat": (5.0, 60.0)}
    job = launch(run_folder, *rank_command, json.dumps(options))

    until(lambda: reached(run_folder, 2), "step 2")
    subprocess.run(["scancel", "--batch", "--signal=USR1", job], check=True)
    until(lambda: reached(run_folder, 7), "step 7, after the requeue")
    os.kill(int((run_folder / "pid.1").read_text()), signal.SIGKILL)
    until(lambda: reached(run_folder, 10), "step 10, after the second requeue")
    os.kill(int((run_folder / "pid.1").read_text()), signal.SIGSTOP)
    until(lambda: state(job) == "COMPLETED", f"the end of job {job}")

    told = output(run_folder, job)
    assert "got SIGUSR1" in told
    assert "srun: error: n2: task 1: Killed" in told
    assert "failure: rank 1 on n2 gave no sign of life" in told
    assert told.count("requeued at step") == 3
    assert f"finished: step {STEPS} of {STEPS}" in told
    for rank in (0, 1):
        whole = recorded(run_folder, "whole", rank)
        rows = recorded(run_folder, "slurm", rank)
        # Steps after the last checkpoint are made again, to the last bit as before.
        assert {row["step"] for row in rows} == set(range(1, STEPS + 1)) and len(rows) > STEPS
        assert all(row == whole[row["step"] - 1] for row in rows)


def test_scancel_leaves_a_checkpoint_and_is_the_end(
    launch: Callable[..., str], rank_command: list[str], run_folder: Path, until: Callable[..., None]
):
    job = launch(run_folder, *rank_command, json.dumps(OPTIONS | {"steps": 500, "every": 500, "dawdle": ("step", 0.3)}))
    until(lambda: reached(run_folder, 2), "step 2")
    subprocess.run(["scancel", job], check=True)
    until(lambda: state(job) == "CANCELLED", f"the end of job {job}")
    until(lambda: "ended from outside" in output(run_folder, job), "the last word of the script", 30)
    step, _ = read_progress(run_folder / "checkpoints")
    assert step >= 2 and read_checkpoint(run_folder / CHECKPOINT)["global_step"] == step
    assert "requeued" not in output(run_folder, job)


def test_ranks_that_never_leave_do_not_hold_the_job_up(
    launch: Callable[..., str],
    rank_command: list[str],
    run_folder: Path,
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("VTB_LEAVE_WITHIN", "3")
    options = {"steps": 500, "every": 500, "strategy": "ddp", "dawdle": ("save", 3600)}
    job = launch(run_folder, *rank_command, json.dumps(options), failures=1)
    until(lambda: reached(run_folder, 2), "step 2")
    subprocess.run(["scancel", "--batch", "--signal=USR1", job], check=True)
    until(lambda: state(job) == "FAILED", f"the end of job {job}")
    assert "the ranks did not leave within 3 s" in output(run_folder, job)
    assert "gave up at step 0" in output(run_folder, job)


def test_a_dry_run_asks_the_scheduler_and_submits_nothing(
    slurm: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture
):
    queued = ["squeue", "-h", "-o", "%i"]
    before = subprocess.run(queued, capture_output=True, text=True).stdout
    command = ["launch", "slurm", "--run", str(tmp_path), "--gpus-per-node=0", "--cpus-per-task=1", "--dry-run"]
    assert main([*command, "--nodes=2", "--", "true"]) == 0
    assert "to start at" in capsys.readouterr().err
    assert main([*command, "--nodes=3", "--", "true"]) == 2
    assert "sbatch fails: allocation failure: " in capsys.readouterr().err
    assert subprocess.run(queued, capture_output=True, text=True).stdout == before


def test_slurm_reads_values_whole(
    slurm: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture, until: Callable
):
    folder, comment = tmp_path / "100% my run", 'my "first" # run'
    options = ["--gpus-per-node=0", "--cpus-per-task=1", "--time=5", f"--sbatch=comment={comment}"]
    assert main(["launch", "slurm", "--run", str(folder), *options, "--", "true"]) == 0
    job = capfd.readouterr().out.strip()
    until(lambda: "finished at step 0" in output(folder, job), f"the end of job {job}")
    shown = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True).stdout
    assert f"Comment={comment}" in shown


def test_attempts_without_progress_come_to_an_end(
    launch: Callable[..., str], tmp_path: Path, until: Callable[..., None]
):
    job = launch(tmp_path, "false", failures=2)
    until(lambda: state(job) == "FAILED", f"the end of job {job}")
    assert output(tmp_path, job).count("the ranks ended with code 1") == 2
    assert "gave up at step 0: 2 attempts in a row reached no new checkpoint" in output(tmp_path, job)


def test_what_was_typed_wrong_is_said_once_and_not_tried_again(
    launch: Callable[..., str], tmp_path: Path, until: Callable[..., None]
):
    # Its key is right, so that the launcher lets it pass.
    line = [sys.executable, "-m", "nemo_vtb.cli", "train", "--config-name=quickstart", "model.text_lora=sometimes"]
    job = launch(tmp_path, *line)
    until(lambda: state(job) == "FAILED", f"the end of job {job}")
    said = output(tmp_path, job)
    assert said.count("the ranks ended with code") == 1 and "requeued" not in said
    assert "gave up at step 0, for it would be the same again: " in said and "text_lora" in said.partition("again: ")[2]


def test_a_node_that_never_answers_is_named(
    slurm: SimpleNamespace,
    launch: Callable[..., str],
    tmp_path: Path,
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("VTB_ANSWER_WITHIN", "4")
    slurmd = int((slurm.folder / "slurmd.n2.pid").read_text())
    os.kill(slurmd, signal.SIGSTOP)
    try:
        job = launch(tmp_path, "true", failures=1)
        until(lambda: "gave up" in output(tmp_path, job), f"the end of job {job}")
    finally:
        os.kill(slurmd, signal.SIGCONT)
    assert f"no answer within 4 s, or no access to {tmp_path}, from: n2" in output(tmp_path, job)
