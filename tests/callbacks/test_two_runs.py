"""Two runs at once: they do not write into one folder, and processes that were to be one run are not two."""

import json
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import pytest
from lightning.pytorch import Callback
from tiny_training import CHECKPOINT, train

from nemo_vtb.cli import main
from nemo_vtb.errors import VTBError
from nemo_vtb.paths import claim, release


def _hold(folder: Path, told: Connection) -> None:
    claim(folder, "x")
    told.send("held")
    told.recv()


def test_a_folder_that_another_run_writes_to_is_refused_until_it_ends(run_folder: Path):
    here, there = multiprocessing.Pipe()
    folder = (run_folder / CHECKPOINT).parent
    other = multiprocessing.get_context("fork").Process(target=_hold, args=(folder, there))
    other.start()
    assert here.recv() == "held"
    options = {"devices": 1, "strategy": "auto", "steps": 1, "every": 1}
    try:
        with pytest.raises(VTBError, match=f"process {other.pid} trains into the folder .*trainer.default_root_dir"):
            train(run_folder, "second", **options)
        assert not (run_folder / CHECKPOINT).exists()
    finally:
        other.kill()
        other.join()
    for _ in range(2):
        train(run_folder, "alone", **options)
        # Given back, although this process goes on: as a notebook does.
        other = multiprocessing.get_context("fork").Process(target=claim, args=(folder, "x"))
        other.start()
        other.join()
        assert other.exitcode == 0


class _Fails(Callback):
    def on_train_batch_end(self, *given: object, **named: object) -> None:
        raise ValueError("on purpose")


def test_a_run_that_fails_gives_its_folder_back(run_folder: Path):
    with pytest.raises(ValueError, match="on purpose"):
        train(run_folder, "fails", devices=1, strategy="auto", steps=1, every=1, more=(_Fails(),))
    folder = (run_folder / CHECKPOINT).parent
    other = multiprocessing.get_context("fork").Process(target=claim, args=(folder, "x"))
    other.start()
    other.join()
    assert other.exitcode == 0
    release(folder)


@pytest.fixture
def line(run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A training of one device."""
    from omegaconf import OmegaConf

    config = json.loads((run_folder / "config.json").read_text())
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    config["trainer"] = {"accelerator": "cpu", "devices": 1, "max_steps": 1, **dict.fromkeys(quiet, False)}
    config["trainer"] |= {"limit_val_batches": 0, "default_root_dir": str(run_folder / "run")}
    (run_folder / "mine.yaml").write_text(OmegaConf.to_yaml(config))
    return ["train", "--config-name=mine", f"--config-dir={run_folder}"]


def test_processes_of_torchrun_do_not_each_train_a_run(
    line: list[str], run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    launcher = SimpleNamespace(RANK=0, LOCAL_RANK=0, GROUP_RANK=0, WORLD_SIZE=2, LOCAL_WORLD_SIZE=2)
    for name, value in {**vars(launcher), "TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, str(value))
    assert main(line) == 2
    said = capsys.readouterr().err
    assert "2 processes were started, and with trainer.devices=1, trainer.num_nodes=1 each would train" in said
    assert not (run_folder / "run" / "last.ckpt").exists()


def test_tasks_of_srun_that_train_runs_of_their_own_are_said(
    line: list[str], run_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    for name, value in {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4"}.items():
        monkeypatch.setenv(name, value)
    assert main([*line, "trainer.max_steps=1"]) == 0
    assert "srun started 4 tasks, of which each trains a run of its own" in caplog.text
    assert (run_folder / "run" / "last.ckpt").exists()
