"""``vtb export --to slim``: a folder of what was trained answers as the checkpoint it came from."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nemo_vtb.assets.cache import CACHE_VARIABLE, mark_finished, model_folder
from nemo_vtb.assets.catalog import CATALOG
from nemo_vtb.cli import main
from nemo_vtb.errors import VTBError
from nemo_vtb.inference.chat import ChatSession
from nemo_vtb.models.checkpoints.file import read_checkpoint
from nemo_vtb.models.load import load_checkpoint

LLM, ENCODER = "smollm2-135m-instruct", "whisper-base"


@pytest.fixture
def packaged(trained: Any, tiny_llm: Path, tiny_whisper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trained checkpoint, with an alignment head, standing on tiny models that are packaged assets."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    for name, made in ((LLM, tiny_llm), (ENCODER, tiny_whisper)):
        shutil.copytree(made, model_folder(CATALOG[name]))
        mark_finished(CATALOG[name], model_folder(CATALOG[name]))
    from nemo_vtb import VoiceTextBlender

    old = read_checkpoint(trained[1])
    names = {"pretrained_llm": str(model_folder(CATALOG[LLM])), "pretrained_asr": ENCODER}
    training = {"alignment": {"weight": 1.0}, "encoder_cache": str(tmp_path / "frames")}
    cfg = {**old["hyper_parameters"]["cfg"], **names, **training}
    model = VoiceTextBlender(cfg)
    # What a folder does not need is there to be left out.
    state = {name: tensor for name, tensor in model.state_dict().items() if name in model.trainable_names}
    checkpoint = {"state_dict": {**state, **old["state_dict"]}, "hyper_parameters": {"cfg": cfg}, "global_step": 5}
    model.on_save_checkpoint(checkpoint)
    torch.save(checkpoint, tmp_path / "packaged.ckpt")
    return tmp_path / "packaged.ckpt"


def exported(checkpoint: Path, folder: Path, *arguments: str) -> Path:
    assert main(["export", str(checkpoint), "--to", "slim", "--out", str(folder), *arguments]) == 0
    return folder


def said(path: Path, clip: SimpleNamespace) -> list[str]:
    session = ChatSession.from_checkpoint(path)
    return [session.say(message, max_new_tokens=8) for message in (f"What is said? @{clip.path}", "Say it again.")]


def test_it_answers_as_the_checkpoint(packaged: Path, clip: SimpleNamespace, tmp_path: Path):
    folder = exported(packaged, tmp_path / "slim", "--dtype", "float32")
    assert said(folder, clip) == said(packaged, clip)
    ours, theirs = load_checkpoint(folder).state_dict(), load_checkpoint(packaged).state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert main(["export", str(folder), "--to", "merged", "--out", str(tmp_path / "merged")]) == 0
    again = exported(folder, tmp_path / "again", "--dtype", "float32")
    assert (again / "config.json").read_text() == (folder / "config.json").read_text()


def test_it_holds_what_was_trained_and_no_path(packaged: Path, tmp_path: Path):
    folder = exported(packaged, tmp_path / "slim")
    held = load_file(folder / "trained.safetensors")
    trained = load_checkpoint(packaged).trainable_names
    assert any(name.startswith("alignment.") for name in trained)
    assert set(held) == {name for name in trained if not name.startswith("alignment.")}
    assert {tensor.dtype for tensor in held.values()} == {torch.bfloat16}
    text = (folder / "config.json").read_text()
    section = json.loads(text)["model"]
    assert (section["pretrained_llm"], section["pretrained_asr"]) == (LLM, ENCODER)
    assert str(tmp_path) not in text and "alignment" not in section
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "trained.safetensors"]


def test_lm_eval_reads_it(packaged: Path, tmp_path: Path):
    pytest.importorskip("lm_eval", reason="lm-eval is an extra: pip install 'nemo-vtb[lm-eval]'")
    from nemo_vtb.evaluation.lm_eval import VTBLM

    folder = exported(packaged, tmp_path / "slim", "--dtype", "float32")
    asked = [SimpleNamespace(args=("One, two,", " three"))]
    ours, theirs = (VTBLM(str(path)).loglikelihood(asked, disable_tqdm=True) for path in (folder, packaged))
    assert ours == theirs


def test_a_folder_of_this_machine_needs_a_name(trained: Any, tmp_path: Path, capsys: Any):
    line = ["export", str(trained[1]), "--to", "slim", "--out", str(tmp_path / "slim")]
    assert main(line) == 2
    assert "--llm ORG/NAME" in capsys.readouterr().err
    assert main([*line, "--llm", "org/llm", "--encoder", "org/ears"]) == 0
    section = json.loads((tmp_path / "slim" / "config.json").read_text())["model"]
    assert (section["pretrained_llm"], section["pretrained_asr"]) == ("org/llm", "org/ears")


def test_other_folders_and_damage_are_named(packaged: Path, tmp_path: Path):
    with pytest.raises(VTBError, match=r"has no trained\.safetensors"):
        load_checkpoint(tmp_path)
    folder = exported(packaged, tmp_path / "slim")
    weights = folder / "trained.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(VTBError, match="damaged"):
        load_checkpoint(folder)
