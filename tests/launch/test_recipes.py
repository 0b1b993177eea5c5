"""The NeMo-Run recipe, where NeMo-Run is installed: ``pip install nemo-vtb[slurm]``."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("nemo_run")


DRY_RUN = """
import sys
import fiddle
import nemo_run as run
from nemo_vtb.launch import recipes
executor = fiddle.build(recipes.vtb_slurm(account="me", nodes=2, gpus_per_node=4))
executor.tunnel = run.LocalTunnel(job_dir=sys.argv[1])
with run.Experiment("vtb", base_dir=sys.argv[1]) as experiment:
    experiment.add(recipes.training("/shared/a run", ["vtb", "train"]), executor=executor, name="train")
    experiment.dryrun(delete_exp_dir=False)
"""


def test_the_job_starts_a_task_per_gpu_and_is_told_before_its_limit(tmp_path: Path):
    command = [sys.executable, "-c", DRY_RUN, str(tmp_path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = done.stdout + "".join(path.read_text() for path in tmp_path.rglob("*.sh"))
    for line in ("--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--signal=USR1@180", "/shared/a run"):
        assert line in said, said


def test_ranks_find_rank_0(tmp_path: Path):
    from nemo_vtb.launch import recipes

    # Of the same job before it was requeued, on other nodes.
    (tmp_path / ".address.7").write_text("elsewhere\n")
    (tmp_path / ".address.7.0.0").write_text("elsewhere\n")
    script = recipes.training(
        str(tmp_path), ["bash", "-c", "echo $RANK/$WORLD_SIZE of $MASTER_ADDR:$MASTER_PORT $VTB_DEVICES"]
    )
    slurm = {"SLURM_NTASKS": "4", "SLURM_NNODES": "2", "SLURM_JOB_ID": "7", "SLURM_LOCALID": "1", "SLURM_NODEID": "1"}
    slurm["SLURM_RESTART_COUNT"] = "1"
    ranks = [
        subprocess.Popen(
            ["bash", "-c", script.inline],
            env=slurm | {"SLURM_PROCID": rank, "PATH": "/usr/bin:/bin"},
            stdout=-1,
            text=True,
        )
        for rank in ("3", "0")
    ]
    host = subprocess.check_output(["hostname"], text=True).strip()
    assert [rank.communicate(timeout=20)[0] for rank in ranks] == [
        f"3/4 of {host}:20007 2\n",
        f"0/4 of {host}:20007 2\n",
    ]
