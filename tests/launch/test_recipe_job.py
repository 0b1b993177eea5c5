"""examples/slurm/recipe.sbatch on a real Slurm of two nodes: killed once in each stage, and finished."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "slurm" / "recipe.sbatch"
SMALL = ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1", "--time=5")
# Kills itself the first time, with work half done; then goes on from there.
STAGE = """#!/bin/bash
echo "$1 ${RANK:--} of ${WORLD_SIZE:--}" >> "$VTB_RUN/log"
if [ ! -e "$VTB_RUN/$1.half" ]; then touch "$VTB_RUN/$1.half"; kill -9 $$; fi
[ "$1" != train ] || { mkdir -p "$VTB_RUN/checkpoints"; echo "4 4" > "$VTB_RUN/checkpoints/progress"; }
echo "$VTB_RUN" > "$VTB_RUN/$1.made"
"""


def submit(run: Path, recipe: Path, **variables: str) -> str:
    command = ["sbatch", "--parsable", *SMALL, f"--output={run}/job.out", str(SCRIPT), str(recipe)]
    env = os.environ | {"VTB_RUN": str(run)} | variables
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()


def state(job: str) -> str:
    fields = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, timeout=30).stdout
    return fields.partition("JobState=")[2].split()[0]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "stage.sh").write_text(STAGE)
    stages = ["prepare bash $VTB_RUN/stage.sh prepare", "train ranks bash $VTB_RUN/stage.sh train"]
    stages += ["eval bash $VTB_RUN/stage.sh eval"]
    path = tmp_path / "recipe.txt"
    path.write_text("\n".join(["# A comment.", "", *stages]) + "\n")
    return path


def test_killed_once_in_each_stage_and_finished(
    slurm: SimpleNamespace, recipe: Path, tmp_path: Path, until: Callable[..., None]
):
    job = submit(tmp_path, recipe)
    until(lambda: state(job) in ("COMPLETED", "FAILED"), f"the end of job {job}", 240)
    told = (tmp_path / "job.out").read_text()
    assert state(job) == "COMPLETED" and "finished: every stage" in told, told
    for name in ("prepare", "train", "eval"):
        assert told.count(f"requeued in stage {name}") == 1
        assert (tmp_path / f"{name}.made").read_text().strip() == str(tmp_path)
    log = (tmp_path / "log").read_text().splitlines()
    assert log.count("prepare - of -") == 2, "a stage that is done is not done again"
    assert {"train 0 of 2", "train 1 of 2"} <= set(log), "training has a rank on each node"


def test_a_stage_that_never_ends_well_ends_the_job(slurm: SimpleNamespace, tmp_path: Path, until: Callable[..., None]):
    path = tmp_path / "recipe.txt"
    path.write_text("broken false\nnext touch $VTB_RUN/next\n")
    job = submit(tmp_path, path, VTB_MAX_FAILURES="1")
    until(lambda: state(job) == "FAILED", f"the end of job {job}")
    assert "gave up in stage broken: it ended with code 1" in (tmp_path / "job.out").read_text()
    assert not (tmp_path / "next").exists()


def test_what_a_stage_refuses_is_not_tried_again(slurm: SimpleNamespace, tmp_path: Path, until: Callable[..., None]):
    path = tmp_path / "recipe.txt"
    path.write_text(f"broken {sys.executable} -m nemo_vtb.cli train --config-name=quickstart sede=1\n")
    job = submit(tmp_path, path)
    until(lambda: state(job) == "FAILED", f"the end of job {job}")
    told = (tmp_path / "job.out").read_text()
    assert (
        "gave up in stage broken, for it would be the same again: config 'quickstart': Could not override 'sede'"
        in told
    ), told
    assert "requeued" not in told


def test_what_may_pass_is_tried_again(slurm: SimpleNamespace, tmp_path: Path, until: Callable[..., None]):
    """A folder that is not there yet: ``vtb`` names it, and the next attempt may find it."""
    path = tmp_path / "recipe.txt"
    path.write_text(
        f"reads {sys.executable} -m nemo_vtb.cli export {tmp_path}/away.ckpt --to slim --out {tmp_path}/out\n"
    )
    job = submit(tmp_path, path, VTB_MAX_FAILURES="2")
    until(lambda: state(job) == "FAILED", f"the end of job {job}", 240)
    told = (tmp_path / "job.out").read_text()
    assert told.count("away.ckpt") >= 2 and told.count("requeued in stage reads") == 1, told


def test_the_shipped_recipe_is_made_of_commands_that_there_are(monkeypatch: pytest.MonkeyPatch):
    """Each line is read by ``vtb`` itself; the corpora that they name are not here."""
    from nemo_vtb import cli
    from nemo_vtb.config import compose
    from nemo_vtb.training import check_config

    for variable, value in {"VTB_DEVICES": "1", "VTB_NODES": "1", "VTB_RUN": "run"}.items():
        monkeypatch.setenv(variable, value)
    lines = (SCRIPT.parent / "recipes" / "public.txt").read_text().splitlines()
    named = set()
    for line in (line for line in lines if line and not line.startswith("#")):
        name, _, command = line.partition(" ")
        words = command.removeprefix("ranks ").split()
        assert words[0] == "vtb"
        args, rest = cli.parser().parse_known_args(words[1:])
        named.add(name)
        if getattr(args, "config_name", None):
            cfg = compose(args.config_name, [*rest, *(["trainer.accelerator=cpu"] if name == "train" else [])])
            if name == "train":
                check_config(cfg)
    assert named == {"librispeech", "covost2", "text", "qa", "speech", "train", "eval"}
