"""The one config line, on an unchanged launcher of NeMo's shape, in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

LAUNCHER = Path(__file__).parent / "launcher.py"


@pytest.fixture
def folder(tmp_path, tiny_cfg, clip):
    """A copy of the launcher with a config that trains one step on text and speech."""
    shutil.copy(LAUNCHER, tmp_path)
    text = [{"from": "User", "value": "hi", "type": "text"}, {"from": "Assistant", "value": "hello", "type": "text"}]
    (tmp_path / "text.jsonl").write_text(json.dumps({"id": "t", "conversations": text}) + "\n")
    speech = {"id": "a", "audio_filepath": str(clip.path), "text": clip.text}
    (tmp_path / "asr.jsonl").write_text(json.dumps(speech) + "\n")
    model = tiny_cfg("vtb", prompt_format="chatml")
    del model["lora"]
    kinds = {
        "text": {"share": 0.5, "input_cfg": [{"manifest_filepath": str(tmp_path / "text.jsonl")}]},
        "asr": {"share": 0.5, "input_cfg": [{"type": "nemo", "manifest_filepath": str(tmp_path / "asr.jsonl")}]},
    }
    train_ds = {
        "prompt_format": "chatml",
        "audio_locator_tag": model["audio_locator_tag"],
        "token_equivalent_duration": 0.08,
        "batch_tokens": 128,
        "blend": {"kinds": kinds},
    }
    trainer = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer |= {"accelerator": "cpu", "devices": 1, "max_steps": 1, "use_distributed_sampler": False}
    config = {"model": model, "data": {"train_ds": train_ds}, "trainer": trainer}
    OmegaConf.save(OmegaConf.create(config), tmp_path / "launcher.yaml")
    return tmp_path


def launch(folder, *overrides):
    command = [sys.executable, "launcher.py", *overrides]
    env = {**os.environ, "HYDRA_FULL_ERROR": "0"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def test_one_line_trains_our_classes_with_lora(folder):
    done = launch(folder, "+vtb@_global_=default", "+lora=r8")
    assert "TRAINED VoiceTextBlender VTBDataset VTBDataModule 1 8" in done.stdout, done.stdout + done.stderr


def test_a_launcher_without_the_names_stops(folder):
    script = folder / "launcher.py"
    text = script.read_text().replace("SALM, DataModule, SALMDataset", "SALM, DataModule")
    script.write_text(text)
    done = launch(folder, "+vtb@_global_=default")
    assert done.returncode != 0 and "does not define SALMDataset" in done.stdout + done.stderr
