import json
import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf


@pytest.fixture
def launcher_folder(tmp_path, tiny_cfg, clip):
    """A copy of the launcher with a config that trains one step on text and speech."""
    shutil.copy(Path(__file__).parent / "launcher.py", tmp_path)
    text = [{"from": "User", "value": "hi", "type": "text"}, {"from": "Assistant", "value": "hello", "type": "text"}]
    (tmp_path / "text.jsonl").write_text(json.dumps({"id": "t", "conversations": text}) + "\n")
    speech = {"id": "a", "audio_filepath": str(clip.path), "duration": clip.duration, "text": clip.text}
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
