"""What ``vtb launch slurm`` refuses before anything waits in a queue, and what it writes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nemo_vtb.cli import main
from nemo_vtb.launch.script import parse_options, render
from nemo_vtb.paths import slurm_dir

TRAIN = ["vtb", "train", "--config-name=quickstart", "+cluster=slurm"]


@pytest.fixture(autouse=True)
def without_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop: the scheduler itself is asked in ``test_slurm_job.py``."""
    monkeypatch.setattr("nemo_vtb.launch.slurm.shutil.which", lambda name: None if name == "sbatch" else f"/bin/{name}")


def launch(folder: Path, *options: str, command: list[str] = TRAIN) -> int:
    return main(["launch", "slurm", "--run", str(folder), *options, "--", *command])


def test_options_are_replaced_added_and_removed():
    template = (slurm_dir() / "train.sbatch").read_text()
    command = ["python", "a b.py", "x=${y}"]
    script = render(template, {"nodes": "7", "gpus-per-node": None, "exclusive": ""}, {"VTB_RUN": "/a b"}, command)
    options = parse_options(script)
    assert options["nodes"] == "7" and options["exclusive"] == "" and "gpus-per-node" not in options
    assert options["signal"] == parse_options(template)["signal"]
    assert "export VTB_RUN='/a b'\nset -- python 'a b.py' 'x=${y}'\n" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def test_dry_run_prints_the_script_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert launch(tmp_path / "run", "--nodes=4", "--sbatch", "partition=long", "--dry-run") == 0
    printed = capsys.readouterr()
    options = parse_options(printed.out)
    assert (options["nodes"], options["ntasks-per-node"], options["partition"]) == ("4", "8", "long")
    assert "the scheduler was not asked" in printed.err
    assert list(tmp_path.iterdir()) == []


def test_parts_make_an_array(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert launch(tmp_path, "--parts=16", "--dry-run", command=["python", "--part", "{part}/{parts}"]) == 0
    assert parse_options(capsys.readouterr().out)["array"] == "0-15"


def test_values_are_quoted_as_sbatch_reads_them(tmp_path: Path, capsys: pytest.CaptureFixture):
    comment = 'my "first" # run'
    assert launch(tmp_path / "100% mine", "--sbatch", f"comment={comment}", "--dry-run") == 0
    script = capsys.readouterr().out
    assert '#SBATCH --comment="my \\"first\\" # run"\n' in script
    assert f'#SBATCH --output="{tmp_path}/100%% mine/slurm/%j.out"\n' in script
    assert parse_options(script)["comment"] == comment
    assert f"export VTB_RUN='{tmp_path}/100% mine'\n" in script


@pytest.mark.parametrize(
    ("options", "given", "ranks"),
    [
        (["--gpus-per-node=4", "--sbatch=gres=gpu:h100:4"], {"gres": "gpu:h100:4"}, "4"),
        (["--gpus-per-node=2", "--sbatch=gres=lustre,gpu:2(S:0)"], {"gres": "lustre,gpu:2(S:0)"}, "2"),
        (["--gpus-per-node=4", "--sbatch=gpus-per-task=1"], {"gpus-per-task": "1"}, "4"),
        (["--gpus-per-node=4", "--sbatch=gres=gpu:8", "--sbatch=ntasks-per-node=4"], {"gres": "gpu:8"}, "4"),
        (["--gpus-per-node=4", "--sbatch=gres=lustre:1"], {"gres": "lustre:1", "gpus-per-node": "4"}, "4"),
    ],
)
def test_gpus_are_asked_for_once(
    options: list[str], given: dict[str, str], ranks: str, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert launch(tmp_path, *options, "--dry-run") == 0
    found = parse_options(capsys.readouterr().out)
    of_gpus = {name: value for name, value in found.items() if "gpu" in name or name == "gres"}
    assert of_gpus == given and found["ntasks-per-node"] == ranks


def test_a_signal_at_another_time_gives_the_ranks_that_time(tmp_path: Path, capsys: pytest.CaptureFixture):
    for signal, seconds in {"B:USR1@600": 540, "B:SIGUSR1@60": 30, "RB:10@90": 45}.items():
        assert launch(tmp_path, f"--sbatch=signal={signal}", "--dry-run") == 0
        assert f"export VTB_LEAVE_WITHIN={seconds}\n" in capsys.readouterr().out
    assert launch(tmp_path, "--dry-run") == 0
    assert "export VTB_LEAVE_WITHIN" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "command", "message"),
    [
        (["--dry-run", "--sbatch=signal=USR1@600"], TRAIN, "say --sbatch signal=B:USR1@SECONDS"),
        (["--dry-run", "--sbatch=signal=B:TERM@600"], TRAIN, "say --sbatch signal=B:USR1@SECONDS"),
        (["--dry-run", "--sbatch=gres=gpu:4"], TRAIN, "add --gpus-per-node 4"),
        ([], TRAIN, "sbatch is not on this machine"),
        (["--dry-run", "--nodes=0"], TRAIN, "--nodes"),
        (["--dry-run"], [], "nothing stands after --"),
        (["--dry-run"], ["vtb", "train", "--config-name=nowhere"], "nowhere"),
        (["--dry-run"], ["vtb", "train", "--config-name=quickstart", "+lora=r999"], "r999"),
        (["--dry-run"], ["vtb", "train", "--config-name", "quikstart", "+cluster=slurm"], "quikstart"),
        (["--dry-run"], ["vtb", "train", "--config-name", "quickstart", "--config-dir", "absent"], "--config-dir"),
        (
            ["--dry-run"],
            ["vtb", "train", "--config-name", "quickstart", "--nodes=2"],
            "unrecognized arguments: --nodes",
        ),
        (["--dry-run"], ["vtb", "assets", "list", "more"], "unrecognized arguments: more"),
        (["--dry-run"], ["python", "-m", "nemo_vtb.cli", "train", "-cn", "quikstart"], "quikstart"),
        (["--dry-run"], ["vtb", "synth", "text", "out=x", "llm.model=m", "countt=1"], "countt"),
        (["--dry-run"], ["vtb", "synth", "text", "out=x", "llm.model=m", "part={part}/{parts}"], "--parts N"),
        (["--dry-run", "--parts=4"], ["vtb", "synth", "text", "out=x", "llm.model=m"], "part={part}/{parts}"),
        (["--dry-run", "--parts=4", "--nodes=8"], ["python", "{part}"], "--nodes"),
        (["--dry-run", "--parts=4", "--max-failures=8"], ["python", "{part}"], "--max-failures"),
        (["--dry-run"], ["python", "absent.py", "+vtb@_global_=default"], "no script at absent.py"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    options: list[str], command: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
):
    assert launch(tmp_path, *options, command=command) == 2
    assert message in capsys.readouterr().err


def test_a_misspelt_command_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit) as ended:
        launch(tmp_path, "--dry-run", command=["vtb", "trian", "--config-name=quickstart"])
    assert ended.value.code == 2 and "trian" in capsys.readouterr().err


def test_a_config_of_ones_own_is_found_however_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "mine.yaml").write_text("defaults: [quickstart, _self_]\n")
    words = ["vtb", "train", "--config-dir", str(tmp_path), "-cn", "mine", "+cluster=slurm"]
    assert launch(tmp_path / "run", "--dry-run", command=words) == 0
    assert launch(tmp_path / "run", "--dry-run", command=["vtb", "lm-eval", "shipped", "--tasks", "mine"]) == 0
    synth = ["vtb", "synth", "text", "out=x", "llm.model=m", "part={part}/{parts}"]
    assert launch(tmp_path / "run", "--dry-run", "--parts=4", command=synth) == 0
    capsys.readouterr()
    assert launch(tmp_path / "run", "--dry-run", "--parts=4", command=["python", "make.sh"]) == 0
    assert "every part does the same" in capsys.readouterr().err


def test_a_run_that_would_start_anew_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert launch(tmp_path, "--dry-run", command=["vtb", "train", "--config-name=quickstart"]) == 0
    assert "may start anew" in capsys.readouterr().err


def test_parts_of_an_array_are_made_once(tmp_path: Path):
    script = slurm_dir() / "generate.sbatch"
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\nexec "$@"\n')
    srun.chmod(0o755)
    task = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_MAX": "3", "SLURM_ARRAY_TASK_COUNT": "4"}
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "VTB_RUN": str(tmp_path), **task}
    command = ["bash", str(script), "sh", "-c", f"echo $0 >> {tmp_path}/made", "{part}/{parts}"]
    for _ in range(2):
        assert subprocess.run(command, env=env).returncode == 0
    assert (tmp_path / "made").read_text() == "2/4\n"
    assert subprocess.run(command, env=env | {"SLURM_ARRAY_TASK_COUNT": "1"}).returncode == 2


def test_parts_run_in_the_container_and_on_the_cores_that_were_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture):
    options = ["--parts=1", "--cpus-per-task=4", "--srun=--container-image=vtb.sqsh", "--dry-run"]
    assert launch(tmp_path / "run", *options, command=["make-data", "{part}"]) == 0
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\necho "$@"\n')
    srun.chmod(0o755)
    task = {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MAX": "0", "SLURM_ARRAY_TASK_COUNT": "1"}
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_CPUS_PER_TASK": "4", **task}
    done = subprocess.run(["bash"], input=capsys.readouterr().out, env=env, capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "--cpus-per-task=4 --container-image=vtb.sqsh make-data 0", done.stderr


@pytest.mark.skipif(shutil.which("sinfo") is None and "CI" not in os.environ, reason="Slurm is not installed")
def test_slurm_that_does_not_answer_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.undo()
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "absent.conf"))
    assert launch(tmp_path / "run", "--dry-run") == 0
    printed = capsys.readouterr()
    assert (
        parse_options(printed.out)["nodes"] and "Slurm does not answer, so the scheduler was not asked: " in printed.err
    )


def test_an_environment_that_was_not_activated_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    here = Path(sys.executable).parent
    words = ["launch", "slurm", "--run", str(tmp_path / "run"), "--dry-run", "--", *TRAIN]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run([here / "vtb", *words], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"set -- {here / 'vtb'} train" in done.stdout
