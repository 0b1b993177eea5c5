"""``vtb train``: a config is built, trained, and what it learnt is kept."""

import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nemo_vtb.cli import main
from nemo_vtb.config import check_keys, compose, referred_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.models.checkpoints.file import read_checkpoint
from nemo_vtb.models.load import load_checkpoint
from nemo_vtb.synthesis.spoken_turns.options import SpeechOptions


@pytest.fixture
def tiny_training(slim_cfg, clips, tmp_path):
    """The arguments of ``vtb train`` for one step on clips."""
    rows = [
        {"audio_filepath": str(clip.path), "duration": clip.duration, "text": clip.text, "lang": "en"} for clip in clips
    ]
    (tmp_path / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = slim_cfg()
    entry = {"type": "nemo", "manifest_filepath": str(tmp_path / "clips.jsonl")}
    data = {
        "prompt_format": "chatml",
        "audio_locator_tag": model["audio_locator_tag"],
        "token_equivalent_duration": 0.08,
        "batch_tokens": 128,
        "blend": {"kinds": {"asr": {"share": 1.0, "input_cfg": [entry]}}},
    }
    switched_off = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = {
        "accelerator": "cpu",
        "max_steps": 1,
        "use_distributed_sampler": False,
        **dict.fromkeys(switched_off, False),
    }
    config = {"model": model, "data": {"train_ds": data}, "trainer": trainer}
    (tmp_path / "mine.yaml").write_text(OmegaConf.to_yaml(config))
    return ["train", "--config-name=mine", f"--config-dir={tmp_path}"]


def test_trained_weights_are_kept_where_the_config_keeps_none(tiny_training, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(tiny_training) == 0
    model = load_checkpoint(tmp_path / "runs" / "train" / "last.ckpt")
    assert any(p.any() for name, p in model.named_parameters() if "lora_B" in name)
    assert main([*tiny_training, f"+trainer.default_root_dir={tmp_path / 'elsewhere'}"]) == 0
    assert (tmp_path / "elsewhere" / "last.ckpt").is_file()


def test_the_same_line_again_keeps_what_the_first_run_learnt_or_goes_on(tiny_training, tmp_path, monkeypatch, warned):
    """First where the config keeps no checkpoints, then with a LastCheckpoint, by the keys that the warning names."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(tiny_training) == 0
    assert "runs/train/last.ckpt is of an earlier run; this one begins anew and keeps it as last-v1.ckpt" in warned.text
    [begins] = re.findall(r"\+model\.init_from=\S+", warned.text)
    assert main([*tiny_training, begins]) == 0
    assert sorted(path.name for path in Path("runs/train").glob("*.ckpt")) == [
        "last-v1.ckpt",
        "last-v2.ckpt",
        "last.ckpt",
    ]

    keeping = [*tiny_training, "trainer.enable_checkpointing=true"]
    keeping += ["+trainer.callbacks=[{_target_: nemo_vtb.callbacks.last_checkpoint.LastCheckpoint}]"]
    warned.clear()
    assert main([*keeping, "+trainer.default_root_dir=mine"]) == 0
    assert "earlier run" not in warned.text
    assert main([*keeping, "+trainer.default_root_dir=mine"]) == 0
    assert "mine/checkpoints/last.ckpt is of an earlier run" in warned.text
    Path("mine/checkpoints/last-v1.ckpt").rename("mine/checkpoints/last.ckpt")
    keys = re.findall(r"\+exp_manager\.\S+", warned.text)
    assert main([*keeping, *keys, "trainer.max_steps=2"]) == 0
    assert read_checkpoint("mine/checkpoints/last.ckpt")["global_step"] == 2
    assert [path.name for path in Path("mine/checkpoints").glob("*.ckpt")] == ["last.ckpt"]


def test_a_folder_for_frames_that_cannot_be_written_to_is_said_by_its_key(tiny_training, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main([*tiny_training, f"+model.encoder_cache={tmp_path / 'file' / 'frames'}"]) == 2
    assert "name another one with model.encoder_cache" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["model.audio_locator_tag", "model.pretrained_llm"])
def test_an_empty_key_is_a_missing_one(tiny_training, key, capsys):
    assert main([*tiny_training, f"{key}=''"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"vtb: missing config key {key}"


def test_a_config_that_keeps_checkpoints_does_so_itself(tiny_training, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keeper = f"_target_: nemo_vtb.callbacks.last_checkpoint.LastCheckpoint, dirpath: {tmp_path / 'kept'}"
    assert main([*tiny_training, f"+trainer.callbacks=[{{{keeper}}}]", "trainer.enable_checkpointing=true"]) == 0
    assert (tmp_path / "kept" / "last.ckpt").is_file() and not (tmp_path / "runs").exists()


def test_a_key_of_ones_own_is_known_where_the_config_names_it():
    """A folder that several rows share, as configs of Hydra have it, and as ``recipes/public`` does."""
    cfg = OmegaConf.create(
        {"data_root": "/data", "data": {"train_ds": "${data_root}/a", "more": ["${name}"]}, "nam": 1}
    )
    assert referred_keys(cfg) == {"data_root", "name"}
    with pytest.raises(VTBError, match=r"unknown config key config\.nam;"):
        check_keys(cfg, {"data"} | referred_keys(cfg), "config")


def test_so_it_is_in_the_configs_of_other_commands(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "# @package _global_\ndefaults: [/synth/speech, _self_]\nroot: /data\nout: ${root}/made\n"
        "source: {manifest_filepath: '${root}/chats.jsonl'}\n"
    )
    assert SpeechOptions.read(compose("mine", [], tmp_path)).source["manifest_filepath"] == "/data/chats.jsonl"
    with pytest.raises(VTBError, match=r"unknown config key config\.rooot"):
        SpeechOptions.read(compose("mine", ["+rooot=1"], tmp_path))
