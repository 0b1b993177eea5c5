"""What a host raises ends as one line with the key and the remedy; a fault of our own says so."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nemo_vtb.cli import main
from nemo_vtb.cli.guard import OWN_FAULT, guarded


def _train(workplace: SimpleNamespace, capsys: pytest.CaptureFixture, *overrides: str) -> str:
    code = main(["train", "--config-name=training", f"--config-dir={workplace.configs}", *overrides])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vtb")]
    assert code == 2 and len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.pretrained_llm=google/gemma-2b-it"], ["model.pretrained_llm=google/gemma-2b-it", "the hub"]),
        (["model.pretrained_asr=openai/whisper-tiny"], ["model.pretrained_asr=openai/whisper-tiny", "the hub"]),
        (["model.lora.target_modules=[no_such_layer]"], ["model.lora.target_modules", "no_such_layer"]),
        (["+model.lora.use_dora=7"], ["model.lora.use_dora"]),
        (["+model.lora.bias=some"], ["model.lora"]),
        (["model.optimizer._target_=torch.optim.NoSuch"], ["model.optimizer", "NoSuch"]),
        (["model.optimizer.lr=-1"], ["model.optimizer", "-1"]),
        (["model.freeze_params=['(']"], ["model.freeze_params"]),
        (["trainer.max_steps=${no.such.key}"], ["no.such.key"]),
        (["seed=${oc.env:NO_SUCH_VARIABLE}"], ["seed", "NO_SUCH_VARIABLE"]),
        (["trainer.default_root_dir=clips.jsonl"], ["trainer.default_root_dir", "clips.jsonl"]),
        (["trainer.accelerator=gpu"], ["trainer.accelerator=gpu", "vtb doctor"]),
        (["trainer.precision=half"], ["trainer", "half"]),
        (["threads=1000000"], ["threads is 1000000"]),
        (["~model.perception"], ["model.perception"]),
        (["~trainer"], ["trainer"]),
        (["trainer.max_steps=???"], ["trainer.max_steps"]),
    ],
)
def test_training_names_the_key(workplace, capsys, monkeypatch, overrides: list[str], said: list[str]):
    monkeypatch.chdir(workplace.folder)
    line = _train(workplace, capsys, *overrides)
    assert all(part in line for part in said), line


def test_a_gated_repository_says_what_to_do():
    from huggingface_hub.errors import GatedRepoError

    from nemo_vtb.errors import VTBError
    from nemo_vtb.host_errors import blamed_on

    response: Any = SimpleNamespace(headers={}, request=None, status_code=403)
    said = r"^model\.pretrained_llm=org/name: .*gated.*hf auth login"
    with pytest.raises(VTBError, match=said), blamed_on("model.pretrained_llm=org/name"):
        try:
            raise GatedRepoError("403 Client Error", response=response)
        except GatedRepoError as error:
            # As Transformers does.
            raise OSError("You are trying to access a gated repo.") from error


def test_an_export_leaves_what_stands_in_its_way(workplace, capsys, tmp_path: Path):
    def export(out: Path) -> list[str]:
        assert (
            main(["export", str(workplace.checkpoint), "--to=slim", f"--out={out}", "--llm=a/b", "--encoder=c/d"]) == 2
        )
        return [line for line in capsys.readouterr().err.splitlines() if line.startswith("vtb")]

    (tmp_path / "file").write_text("mine")
    assert str(tmp_path / "file") in export(tmp_path / "file")[-1]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "README.md").write_text("mine")
    (line,) = export(tmp_path / "full")
    assert "--out" in line and (tmp_path / "full" / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    "words", [("--llm", "mine"), ("--encoder", ""), ("--llm", "no/such/folder"), ("--llm", "/absent")]
)
def test_an_export_names_models_by_what_others_get_them_by(workplace, capsys, tmp_path: Path, words: tuple[str, str]):
    assert main(["export", str(workplace.checkpoint), "--to=slim", f"--out={tmp_path / 'out'}", *words]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vtb")]
    assert f"{words[0]} {words[1]!r}" in line and "ORG/NAME" in line
    assert not list((tmp_path / "out").iterdir())


def test_a_missing_package_names_its_extra(capsys):
    def command() -> None:
        raise ModuleNotFoundError("No module named 'jsonschema'", name="jsonschema")

    assert guarded(command) == 2
    assert "pip install 'nemo-vtb[synth]'" in capsys.readouterr().err


def test_a_fault_of_ours_says_where_and_how_to_see_it(capsys, monkeypatch):
    def command() -> None:
        json.loads(None)  # type: ignore[arg-type]

    assert guarded(command) == OWN_FAULT
    (line,) = capsys.readouterr().err.splitlines()
    assert "internal error, TypeError" in line and "VTB_DEBUG=1" in line
    monkeypatch.setenv("VTB_DEBUG", "1")
    with pytest.raises(TypeError):
        guarded(command)
