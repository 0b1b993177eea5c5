"""``auto`` in a run: what is chosen is used, recorded in the checkpoint, kept on resume, and answers come in it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import OmegaConf
from two_ranks_worker import build_model

from nemo_vtb.errors import VTBError
from nemo_vtb.models.for_machine import answer_settings, check_accelerator, settings_here
from nemo_vtb.models.load import load_checkpoint
from nemo_vtb.parts.machine.choice import choose_precision
from nemo_vtb.parts.machine.hardware import look


def _dtypes(model: Any) -> tuple[set[torch.dtype], set[torch.dtype]]:
    """Of the LLM's frozen weights, and of what is trained."""
    frozen = {p.dtype for name, p in model.named_parameters() if name.startswith("llm.") and not p.requires_grad}
    return frozen, {p.dtype for p in model.parameters() if p.requires_grad}


@pytest.mark.parametrize(("precision", "frozen"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_frozen_weights_follow_the_trainer(tiny_cfg, precision: str, frozen: torch.dtype):
    model = build_model(tiny_cfg("vtb", llm_dtype="auto"))
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_model_summary", "enable_progress_bar"), False)
    model.trainer = Trainer(accelerator="cpu", precision=precision, **off)
    model.configure_model()
    assert _dtypes(model) == ({frozen}, {torch.float32})


@pytest.mark.parametrize(("precision", "frozen"), [("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)])
def test_answers_come_in_a_precision(trained, clip, precision: str, frozen: torch.dtype):
    model = load_checkpoint(trained[1], precision=precision)
    assert _dtypes(model) == ({frozen}, {torch.float32})
    turn = {"role": "user", "content": f"{model.audio_locator_tag} Say it.", "audio": [str(clip.path)]}
    before = torch.get_default_dtype(), torch.is_autocast_enabled("cpu")
    assert model.generate([[turn]], max_new_tokens=3).shape[0] == 1
    assert (torch.get_default_dtype(), torch.is_autocast_enabled("cpu")) == before


def test_another_precision_of_answers_is_refused(trained):
    with pytest.raises(VTBError, match=r"precision is 'half'; answers are computed in auto, 32-true"):
        answer_settings("half", "cpu", None)
    with pytest.raises(VTBError, match="it is cpu, cuda"):
        answer_settings("auto", "abacus", None)


def _config(folder: Path, **trainer: Any) -> Any:
    manager = {"explicit_log_dir": str(folder), "resume_if_exists": True}
    section = {"accelerator": "cpu", "devices": 1, "precision": "auto", **trainer}
    return OmegaConf.create({"model": {"pretrained_llm": "nowhere"}, "trainer": section, "exp_manager": manager})


def test_a_run_that_goes_on_keeps_its_precision(tmp_path: Path):
    here = choose_precision(look("cpu")).value
    assert settings_here(_config(tmp_path))["precision"].value == here
    other = "bf16-mixed" if here == "32-true" else "32-true"
    (tmp_path / "checkpoints").mkdir()
    torch.save({"vtb": {"precision": other}}, tmp_path / "checkpoints" / "last.ckpt")
    kept = settings_here(_config(tmp_path))["precision"]
    assert kept.value == other and "last.ckpt" in kept.reason
    # Asked for, another one is taken.
    assert settings_here(_config(tmp_path, precision=here))["precision"].value == here


def test_ranks_share_the_cores_and_do_not_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OMP_NUM_THREADS")
    cfg = _config(tmp_path, devices=2)
    cfg.threads = "auto"
    chosen = settings_here(cfg)
    assert chosen["threads"].value == max(1, look("cpu", measured=False).cores // 2)
    assert "GFLOP" not in chosen["precision"].reason


def test_a_gpu_that_is_not_there_is_one_sentence(tmp_path: Path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(VTBError, match=r"trainer\.accelerator=gpu, and this machine has no GPU"):
        check_accelerator(_config(tmp_path, accelerator="gpu"))


def test_a_launcher_of_nemo_is_told_to_name_a_precision():
    from nemo_vtb.switches.check import check_run

    cfg = OmegaConf.create({"trainer": {"max_steps": 1, "precision": "auto"}})
    check_run(cfg)
    with pytest.raises(VTBError, match=r"trainer\.precision=auto: NeMo's launchers"):
        check_run(cfg, of_launcher=True)
