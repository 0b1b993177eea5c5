import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from nemo_vtb.cli import main


@pytest.fixture
def tiny_study(run_folder: Path, clips: list[SimpleNamespace]) -> Callable[..., int]:
    """Runs ``vtb study`` with overrides on two arms of one step each; ``folder/out`` is the study's."""
    trained = json.loads((run_folder / "config.json").read_text())
    trained["trainer"] = {
        "accelerator": "cpu",
        "max_steps": 1,
        "limit_val_batches": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "check_val_every_n_epoch": None,
    }
    study = {
        "out": str(run_folder / "out"),
        "part": "0/1",
        "only": [],
        "threads": 1,
        "keep_checkpoints": True,
        "train": "tiny_train",
        "common": ["model.optimizer.lr=1e-2"],
        "arms": {
            "joint": {"title": "one joint stage", "text_share": 0.5, "seeds": [0, 1]},
            "speech_only": {"title": "speech only", "text_share": 0, "seeds": [0]},
        },
        "measure": {"batch_size": 4, "eval": _asked(run_folder, clips)},
    }
    for name, section in (("tiny_train", {**trained, "seed": 0}), ("tiny_study", study)):
        (run_folder / f"{name}.yaml").write_text(OmegaConf.to_yaml(section))
    return lambda *overrides: main(
        ["study", "--config-name=tiny_study", f"--config-dir={run_folder}", *map(str, overrides)]
    )


def _asked(folder: Path, clips: list[SimpleNamespace]) -> dict[str, Any]:
    """A section ``eval``: two clips, a question, a prompt each way, a conversation, two texts and a chat."""

    def rows(name: str, *found: dict[str, Any]) -> str:
        path = folder / f"asked_{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in found))
        return str(path)

    def turn(who: str, said: Any) -> dict[str, Any]:
        if isinstance(said, str):
            return {"from": who, "type": "text", "value": said}
        return {"from": who, "type": "audio", "value": str(said.path), "text": said.text}

    def chat(name: str, *said: Any, **custom: Any) -> dict[str, Any]:
        *asked, answer = said
        turns = [*(turn("User", part) for part in asked), turn("Assistant", answer)]
        return {"id": name, "conversations": turns, "custom": custom}

    one, other = clips[:2]
    anything = {"type": "words", "at_least": 0}
    spoken = [
        {"audio_filepath": str(clip.path), "duration": clip.duration, "text": clip.text, "lang": "en", "id": name}
        for name, clip in (("one", one), ("other", other))
    ]
    script = {
        "id": "talk",
        "conversations": [
            *(turn("User", one), turn("User", "Say it."), turn("Assistant", "yes")),
            *(turn("User", "And now?"), turn("Assistant", "no")),
        ],
        "custom": {"checks": [None, anything]},
    }
    suite = [
        {"id": "s1", "prompt": "Say hi.", "check": anything},
        {"id": "s2", "prompt": "Say two words.", "check": {"type": "words", "at_least": 2}},
    ]
    return {
        "max_new_tokens": 4,
        "bootstrap": 50,
        "sets": {
            "clips": {"kind": "asr", "type": "nemo", "manifest_filepath": rows("spoken", *spoken)},
            "asked": {"kind": "sqa", "manifest_filepath": rows("sqa", chat("q", one, "What?", "that"))},
            "each_way": {
                "kind": "mixed",
                "manifest_filepath": rows("mixed", chat("m", one, other, "x", check=anything)),
            },
            "talks": {"kind": "multiturn", "manifest_filepath": rows("talks", script)},
        },
        "text": {
            "short": {"type": "replies", "path": rows("suite", *suite)},
            "chat": {"type": "likelihood", "path": rows("chats", chat("c", "Hello.", "Hello to you."))},
        },
    }
