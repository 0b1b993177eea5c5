"""A folder like the root of a checkout, in which documented commands run: short copies of what they read."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from documents import ROOT
from omegaconf import OmegaConf

_TESTS = ROOT / "tests"
_ROWS = 4
KINDS = ("text", "asr", "ast", "sqa", "mixed")


def make_scratch(folder: Path, model: dict[str, Any], checkpoint: Path, clips: list[SimpleNamespace]) -> None:
    """Fills the folder.

    Args:
        folder: Empty.
        model: A tiny ``model`` section.
        checkpoint: Of such a model.
        clips: A few recordings with texts.
    """
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=_left_out)
    for path in (ROOT / "examples" / "corpora").rglob("audio"):
        (folder / path.relative_to(ROOT)).symlink_to(path)
    for path in (folder / "examples" / "corpora").rglob("*.jsonl"):
        path.write_text("".join(f"{line}\n" for line in path.read_text(encoding="utf-8").splitlines()[:_ROWS]))
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    shutil.copy(ROOT / "conf" / "eval" / "prompts" / "spoken_qa.yaml", folder / "mine.yaml")
    begin_page(folder, checkpoint)
    _write_rows(folder, clips)
    shutil.copy(_TESTS / "hydra_plugin" / "launcher.py", folder / "salm_train.py")
    OmegaConf.save(_launcher_config(folder, model), folder / "launcher.yaml")
    for task in ("evaluate", "generate"):
        script = (_TESTS / "inference" / "export_scripts.py").read_text()
        (folder / f"salm_{task.removesuffix('uate')}.py").write_text(
            script.replace("task: str", f'task: str = "{task}"')
        )


def begin_page(folder: Path, checkpoint: Path) -> None:
    """Leaves of earlier pages' runs nothing but the checkpoint that a reader has."""
    for made in ("runs", "exported", "shared"):
        shutil.rmtree(folder / made, ignore_errors=True)
    for run in ("quickstart", "reference"):
        (folder / "runs" / run).mkdir(parents=True)
        shutil.copy(checkpoint, folder / "runs" / run / "last.ckpt")
    (folder / "shared" / "runs").mkdir(parents=True)


def _left_out(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in ("audio", "__pycache__") or name.endswith((".safetensors", ".png"))}


def _write_rows(folder: Path, clips: list[SimpleNamespace]) -> None:
    chats = [_chat(f"c{n}", f"Say {n}. Then stop.", f"Here is number {n}.") for n in range(8)]
    spoken = [
        {"id": f"r{n}", "audio_filepath": str(clip.path), "duration": clip.duration, "text": clip.text, "lang": "en"}
        for n, clip in enumerate(clips)
    ]
    asked = [_chat(f"q{n}", clip, "that", clip.text) for n, clip in enumerate(clips)]
    bank = [
        {**row, "text": text} for row, text in zip(spoken, ("Then stop.", "Say 1.", "Say 2.", "Say 3."), strict=True)
    ]
    sft = [{"mask": "User", "system": "", "conversations": [{"from": "User", "value": "Hi. Who are you?"},
            {"from": "Assistant", "value": "A model."}]}]  # fmt: skip
    suite = [{"id": "s", "prompt": "Say hi.", "check": {"type": "words", "at_least": 0}}]
    files = {"text": chats, "train": chats, "chats": sft, "manifest": spoken, "recordings": bank, "bank": bank}
    for name, rows in (files | {"asked": asked, "suite": suite}).items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _chat(name: str, said: Any, answer: str, text: str = "") -> dict[str, Any]:
    spoken = not isinstance(said, str)
    user = {"from": "User", "type": "audio" if spoken else "text", "value": str(said.path) if spoken else said}
    if spoken:
        user["text"] = text
    return {"id": name, "conversations": [user, {"from": "Assistant", "type": "text", "value": answer}]}


def _launcher_config(folder: Path, model: dict[str, Any]) -> Any:
    spoken = {"type": "nemo", "manifest_filepath": str(folder / "manifest.jsonl")}
    entries = {
        "text": {"manifest_filepath": str(folder / "text.jsonl")},
        "asr": spoken,
        "ast": {**spoken, "target_lang": "en"},
        "sqa": {"manifest_filepath": str(folder / "asked.jsonl")},
        "mixed": {"manifest_filepath": str(folder / "asked.jsonl")},
    }
    train_ds = {
        "prompt_format": "chatml",
        "audio_locator_tag": model["audio_locator_tag"],
        "token_equivalent_duration": 0.08,
        "batch_tokens": 128,
        "blend": {"kinds": {kind: {"share": 0.2, "input_cfg": [entry]} for kind, entry in entries.items()}},
    }
    trainer = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer |= {"accelerator": "cpu", "devices": 1, "max_steps": 1, "use_distributed_sampler": False}
    without_lora = {key: value for key, value in model.items() if key != "lora"}
    return OmegaConf.create({"model": without_lora, "data": {"train_ds": train_ds}, "trainer": trainer})
