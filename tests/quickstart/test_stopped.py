"""A run that was killed goes on where its config keeps a last checkpoint, as conf/reference.yaml does."""

import json
import subprocess
import sys
import time

import pytest
import torch
from forks import fresh_environment
from tiny_quickstart import tiny_quickstart

from nemo_vtb.cli import main
from nemo_vtb.config import compose

_STEPS = 12
_KEPT = {
    "trainer__enable_checkpointing": "true",
    "+trainer__callbacks": "[{_target_: nemo_vtb.callbacks.last_checkpoint.LastCheckpoint, every_n_train_steps: 1}]",
    "trainer__max_steps": _STEPS,
    "trainer__val_check_interval": _STEPS,
}


@pytest.fixture
def killed(tmp_path, tiny_llm, tiny_whisper):
    """The arguments of a run that was killed behind its first step, and its folder."""
    folder = tmp_path / "killed"
    argv = tiny_quickstart(folder, tiny_llm, tiny_whisper, **_KEPT)
    last = folder / "checkpoints" / "last.ckpt"
    with subprocess.Popen([sys.executable, "-m", "nemo_vtb.cli", *argv], env=fresh_environment()) as run:
        while not last.exists():
            assert run.poll() is None
            time.sleep(0.01)
        run.kill()
    assert not (folder / "last.ckpt").exists()
    return argv, folder


def test_the_same_command_goes_on(killed, tmp_path, tiny_llm, tiny_whisper, capfd):
    argv, folder = killed
    assert main([*argv, "held_out.max_new_tokens=5"]) == 2
    assert "held_out.max_new_tokens=4; now it is 5" in capfd.readouterr().err
    before = json.loads((folder / "checkpoints" / "before.json").read_text())
    command = [sys.executable, "-m", "nemo_vtb.cli", *argv]
    said = subprocess.run(command, env=fresh_environment(), check=True, capture_output=True, text=True).stdout
    assert f"goes on from {folder}/checkpoints/last.ckpt" in said and "before: held-out" not in said
    assert main(tiny_quickstart(tmp_path / "whole", tiny_llm, tiny_whisper, **_KEPT)) == 0
    resumed, whole = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("killed", "whole"))
    assert [step["loss"] for step in resumed["history"]["train"]] == [
        step["loss"] for step in whole["history"]["train"]
    ]
    assert resumed["history"]["validation"] == whole["history"]["validation"]
    for key in ("loss", "wer", "sqa", "mixed", "text", "blend"):
        assert resumed[key] == whole[key]
    assert resumed["stages"].keys() == whole["stages"].keys()
    assert resumed["stages"]["before: held-out questions"] == before["seconds"]["before: held-out questions"]
    left, right = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=False)["state_dict"] for name in ("killed", "whole")
    )
    assert left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)
    (folder / "checkpoints" / "before.json").unlink()
    assert main(argv) == 0
    said = capfd.readouterr().out
    assert "goes on from" in said and "before: held-out questions" in said
    again = json.loads((folder / "report.json").read_text())
    assert again["history"]["train"] == resumed["history"]["train"]
    for key in ("loss", "wer", "sqa", "mixed", "text", "blend"):
        assert again[key] == whole[key]


def test_the_reference_run_keeps_what_it_goes_on_from():
    (keeps,) = compose("reference", []).trainer.callbacks
    assert keeps["_target_"] == "nemo_vtb.callbacks.last_checkpoint.LastCheckpoint"
