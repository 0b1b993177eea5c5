"""What ``train.sbatch`` makes of how its ranks end, with stand-ins for Slurm's programs."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nemo_vtb.paths import slurm_dir

PROGRAMS = {
    "srun": '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nSLURM_PROCID=0 SLURM_LOCALID=0 exec "$@"\n',
    "scontrol": '#!/bin/bash\n[ "$1" = show ] && echo n1 || echo "$@" >> "$VTB_RUN/asked"\n',
    "squeue": "#!/bin/bash\n[[ $* == *'-j 6 '* ]] && echo 6\nexit 0\n",
}


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs one attempt of job 7, whose rank is a line of bash; its exit code and what the script says last."""
    for name, text in PROGRAMS.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)

    def run(rank: str, **more: str) -> tuple[int, str]:
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "VTB_RUN": str(tmp_path / "run"), "SLURM_JOB_ID": "7"}
        env |= {"SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_JOB_NODELIST": "n1", "SLURMD_NODENAME": "n1", **more}
        script = str(slurm_dir() / "train.sbatch")
        command = ["bash", script, "bash", "-c", rank]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout.splitlines()[-1].partition("vtb: ")[2]

    return run


def wrote(progress: str, code: int = 0) -> str:
    return f"echo {progress} > $VTB_RUN/checkpoints/progress; exit {code}"


def test_a_run_that_ended_before_its_last_step_is_not_begun_again(attempt: Callable[..., tuple[int, str]]):
    assert attempt(wrote("20 40")) == (0, "requeued at step 20 of 40 (0 of 3 attempts without progress)")
    assert attempt(wrote("30 30")) == (0, "finished: step 30 of 30")


def test_a_failed_attempt_at_more_steps_is_not_called_finished(attempt: Callable[..., tuple[int, str]]):
    assert attempt(wrote("40 40")) == (0, "finished: step 40 of 40")
    assert attempt("exit 1") == (0, "requeued at step 40 of 40 (1 of 3 attempts without progress)")
    assert attempt("exit 0") == (0, "finished: step 40 of 40")
    assert attempt(wrote("80 80", 1)) == (0, "finished: step 80 of 80"), "it fell only after its end"


def test_a_run_without_a_last_step_that_left_in_time_goes_on(attempt: Callable[..., tuple[int, str]]):
    assert attempt(wrote("20 -1")) == (0, "requeued at step 20 of -1 (0 of 3 attempts without progress)")
    assert attempt("exit 0") == (0, "finished at step 20; the run has no max_steps")


def test_two_jobs_do_not_train_in_one_folder(attempt: Callable[..., tuple[int, str]], tmp_path: Path):
    state = tmp_path / "run" / "slurm"
    assert attempt(wrote("4 4"), SLURM_JOB_ID="5")[0] == 0
    assert attempt("exit 0")[0] == 0, "job 5 is over"
    state.joinpath("job").write_text("6\n")
    code, said = attempt(wrote("8 8"))
    assert code == 2 and "job 6 trains in" in said and (state / "job").read_text() == "6\n"
    assert attempt(wrote("8 8"), SLURM_JOB_ID="6")[0] == 0, "it is its own"
