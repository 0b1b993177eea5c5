"""``vtb doctor --slurm``: the scheduler's settings, and ranks that try to meet."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from ranks import run_ranks

from nemo_vtb.cli import main
from nemo_vtb.launch import cluster_check


def meet(folder: Path, own_folder_of: int | None = None) -> None:
    rank = int(os.environ["LOCAL_RANK"])
    os.environ |= {"SLURM_NTASKS": "2", "SLURM_PROCID": str(rank), "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "1"}
    cluster_check._PATIENCE = cluster_check.timedelta(seconds=3)
    output = os.open(folder / f"out.{rank}", os.O_WRONLY | os.O_CREAT)
    os.dup2(output, 1)
    mine = folder / "own" if rank == own_folder_of else folder
    mine.mkdir(exist_ok=True)
    raise SystemExit(main(["doctor", "--slurm", str(mine)]))


def test_ranks_that_meet_tell_what_they_have(tmp_path: Path):
    assert run_ranks(meet, tmp_path) == [0, 0]
    told = (tmp_path / "out.0").read_text()
    assert told.count("GPUs 0") == 2 and "all 2 ranks meet at" in told


def test_a_folder_that_is_not_shared_is_named(tmp_path: Path):
    assert run_ranks(meet, tmp_path, own_folder_of=1) == [1, 1]
    told = (tmp_path / "out.1").read_text()
    assert told.startswith("PROBLEM rank 1 on ") and "is not a folder that all nodes share" in told


def test_the_scheduler_is_asked(slurm: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["doctor", "--slurm", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "partition batch: 2 nodes, GPUs (null), limit infinite, up" in told
    assert "PROBLEM KillWait is 5 s" in told
