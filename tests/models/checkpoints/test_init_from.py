"""``model.init_from``: a new run from trained weights."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from nemo_vtb import VoiceTextBlender
from nemo_vtb.cli import main
from nemo_vtb.errors import VTBError
from nemo_vtb.models.checkpoints.file import read_checkpoint
from nemo_vtb.models.checkpoints.slim import read_trained, steps_before, steps_of
from nemo_vtb.models.load import load_checkpoint
from nemo_vtb.paths import SHIPPED


def trained_state(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in model.named_parameters() if name in model.trainable_names}


def test_vtb_train_begins_from_a_checkpoint_and_keeps_its_steps_alone(
    trained: tuple[Any, Path], run_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    config = json.loads((run_folder / "config.json").read_text())
    # A rate so small that what was trained is still there after a step; another optimizer than any checkpoint has.
    config["model"]["optimizer"] = {"_target_": "torch.optim.SGD", "lr": 1e-9}
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    config["trainer"] = {"accelerator": "cpu", "devices": 1, "max_steps": 1, "limit_val_batches": 0, **quiet}
    (run_folder / "mine.yaml").write_text(OmegaConf.to_yaml(config))
    monkeypatch.chdir(run_folder)
    line = ["train", "--config-name=mine", f"--config-dir={run_folder}"]
    assert main([*line, f"+model.init_from={trained[1]}"]) == 0
    kept = run_folder / "runs" / "train" / "last.ckpt"
    assert "init_from" not in read_checkpoint(kept)["hyper_parameters"]["cfg"]
    before = read_checkpoint(trained[1])["global_step"]
    assert before > 0 and read_checkpoint(kept)["vtb"]["steps_before"] == before
    names = ["--llm", "org/llm", "--encoder", "org/encoder"]
    assert main(["export", str(kept), "--to", "slim", "--out", str(run_folder / "slim"), *names]) == 0
    assert f", 1 steps after {before} of the runs it began from;" in (run_folder / "slim" / "README.md").read_text()
    again = read_trained(run_folder / "slim")
    assert (steps_of(again), steps_before(again)) == (1, before)
    began = trained_state(trained[0])
    for name, tensor in trained_state(load_checkpoint(kept)).items():
        torch.testing.assert_close(tensor, began[name], atol=1e-5, rtol=1e-4)


def test_a_slim_folder_gives_the_same(trained: tuple[Any, Path], slim_cfg: Callable[..., dict], tmp_path: Path):
    names = ["--llm", "org/llm", "--encoder", "org/encoder", "--dtype", "float32"]
    assert main(["export", str(trained[1]), "--to", "slim", "--out", str(tmp_path / "slim"), *names]) == 0
    # The adapter's own help in training is not in the folder and begins anew.
    model = VoiceTextBlender(slim_cfg(init_from=str(tmp_path / "slim"), alignment={"weight": 1.0}))
    began = trained_state(trained[0])
    assert all(torch.equal(tensor, began[name]) for name, tensor in trained_state(model).items() if name in began)


def test_lora_may_come_later(slim_cfg: Callable[..., dict], tmp_path: Path):
    cfg = slim_cfg()
    adapter_only = {key: value for key, value in cfg.items() if key != "lora"}
    first = VoiceTextBlender(adapter_only)
    checkpoint = {"state_dict": first.state_dict(), "hyper_parameters": {"cfg": adapter_only}, "global_step": 7}
    first.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "first.ckpt")
    torch.manual_seed(3)
    second = trained_state(VoiceTextBlender({**cfg, "init_from": str(tmp_path / "first.ckpt")}))
    began = trained_state(first)
    assert all(torch.equal(second[name], tensor) for name, tensor in began.items())
    new = set(second) - set(began)
    assert new and all("lora_" in name for name in new)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda cfg: cfg["lora"].update(r=8), "model.lora.r is 8, the checkpoint was trained with 4"),
        (lambda cfg: cfg.pop("lora"), "have no place in this config, e.g. llm"),
        (lambda cfg: cfg["lora"].update(target_modules=["q_proj"]), "model.lora has other targets here"),
        (lambda cfg: cfg["perception"]["modality_adapter"].update(conv_kernel_size=5), "have another shape"),
        (lambda cfg: cfg.update(init_from="nowhere.ckpt"), "no checkpoint at nowhere.ckpt"),
    ],
    ids=["rank", "no lora", "targets", "shape", "absent"],
)
def test_what_does_not_fit_is_refused(
    change: Callable, sentence: str, trained: tuple[Any, Path], slim_cfg: Callable[..., dict]
):
    cfg = copy.deepcopy(slim_cfg(init_from=str(trained[1])))
    change(cfg)
    with pytest.raises(VTBError, match=sentence):
        VoiceTextBlender(cfg)


def test_other_frozen_weights_are_refused(
    trained: tuple[Any, Path], slim_cfg: Callable[..., dict], tiny_llm: Path, tmp_path: Path
):
    import shutil

    from transformers import LlamaForCausalLM

    shutil.copytree(tiny_llm, tmp_path / "other")
    other = LlamaForCausalLM.from_pretrained(tmp_path / "other")
    with torch.no_grad():
        other.model.layers[0].mlp.up_proj.weight.add_(1.0)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(VTBError, match="stands on other frozen weights of 'llm'"):
        VoiceTextBlender(slim_cfg(init_from=str(trained[1]), pretrained_llm=str(tmp_path / "other")))


def test_the_key_at_the_top_is_told_its_place(run_folder: Path, capsys: pytest.CaptureFixture):
    (run_folder / "mine.yaml").write_text((run_folder / "config.json").read_text())
    assert main(["train", "--config-name=mine", f"--config-dir={run_folder}", "+init_from=x.ckpt"]) == 2
    assert "model.init_from=PATH" in capsys.readouterr().err


@pytest.mark.network
def test_the_shipped_checkpoint_fits_the_shipped_model():
    from nemo_vtb.config import compose

    cfg = OmegaConf.to_container(compose("quickstart", [f"+model.init_from={SHIPPED}"]).model, resolve=False)
    del cfg["lr_scheduler"]
    model = VoiceTextBlender(cfg)
    assert any(bool(p.any()) for name, p in model.named_parameters() if ".lora_B." in name)
