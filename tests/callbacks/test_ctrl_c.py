"""Ctrl-C in ``vtb train``: one saves where SIGTERM does and says where."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from ranks import exit_codes, start_ranks

from nemo_vtb.models.checkpoints.file import read_checkpoint

KEPT = {"_target_": "nemo_vtb.callbacks.last_checkpoint.LastCheckpoint", "every_n_train_steps": 100000}


def train(folder: Path) -> None:
    """``vtb train``, whose words go to ``said.txt``."""
    from nemo_vtb.cli import main

    said = os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT)
    for number in (1, 2):
        os.dup2(said, number)
    os.chdir(folder)
    raise SystemExit(main(["train", "--config-name=mine", f"--config-dir={folder}"]))


@pytest.fixture
def interrupt(run_folder: Path) -> Callable[..., tuple[int | None, str]]:
    """Trains without end, sends signals in training; returns the exit code and what was said."""

    def run(*signals: signal.Signals, **trainer: Any) -> tuple[int | None, str]:
        config = OmegaConf.load(run_folder / "config.json")
        logger = {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "csv", "flush_logs_every_n_steps": 1}
        quiet = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
        endless = {"accelerator": "cpu", "devices": 1, "max_steps": 100000, "log_every_n_steps": 1, **quiet}
        config.trainer = {**endless, "logger": logger, "limit_val_batches": 0, **trainer}
        OmegaConf.save(config, run_folder / "mine.yaml")
        processes = start_ranks(train, run_folder, ranks=1)
        end = time.monotonic() + 120
        while not list(run_folder.rglob("metrics.csv")):
            assert processes[0].is_alive() and time.monotonic() < end, (run_folder / "said.txt").read_text()
            time.sleep(0.05)
        for number in signals:
            os.kill(processes[0].pid, number)
        [code] = exit_codes(processes)
        return code, (run_folder / "said.txt").read_text()

    return run


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_where_the_config_keeps_nothing_the_weights_are_kept(
    number: signal.Signals, expected: int, interrupt: Callable[..., Any], run_folder: Path
):
    code, said = interrupt(number)
    assert code == expected and "the trained weights are in runs/train/last.ckpt" in said, said
    assert read_checkpoint(run_folder / "runs" / "train" / "last.ckpt")["global_step"] >= 1


def test_where_checkpoints_are_kept_the_last_one_is_whole(interrupt: Callable[..., Any], run_folder: Path):
    code, said = interrupt(signal.SIGINT, callbacks=[KEPT], enable_checkpointing=True, default_root_dir="run")
    checkpoint = read_checkpoint(run_folder / "run" / "checkpoints" / "last.ckpt")
    assert code == 130 and "optimizer_states" in checkpoint
    assert f"left after Ctrl-C, checkpoint at step {checkpoint['global_step']}: run/checkpoints/last.ckpt" in said


def test_a_second_one_ends_at_once(interrupt: Callable[..., Any]):
    code, said = interrupt(signal.SIGINT, signal.SIGINT)
    # The second may come when the first has ended the run already.
    assert code in (1, 130) and "once more leaves at once" in said
