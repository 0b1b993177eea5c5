import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from forks import Forks
from omegaconf import OmegaConf


@pytest.fixture(scope="package")
def tiny_study(
    tmp_path_factory: pytest.TempPathFactory, slim_cfg: Callable[..., dict[str, Any]], clips: list[SimpleNamespace]
) -> list[str]:
    """The arguments of ``vtb study`` for two arms of one step each; it makes ``made`` beside its config."""
    folder = tmp_path_factory.mktemp("study")
    kept = {"arm": "joint", "measure": "kl", "below": 100}
    study = {
        "out": str(folder / "made"),
        "part": "0/1",
        "only": [],
        "threads": 1,
        "keep_checkpoints": False,
        "train": "tiny_train",
        "common": ["model.optimizer.lr=1e-2"],
        "arms": {
            "joint": {"title": "one joint stage", "text_share": 0.5},
            "speech_only": {"title": "speech only", "text_share": 0},
        },
        "claims": [
            {"title": "Joint is perfect", "evidence": [{"arm": "joint", "measure": "wer", "below": 0.01}]},
            {"title": "Text is kept", "evidence": [kept]},
            {"title": "It surpasses all others", "not_testable": "There are no others."},
        ],
        "measure": {
            "batch_size": 4,
            "apart": ["people"],
            "way": {"at": [0.5], "ask": ["short", "choose"]},
            "eval": _asked(folder, clips),
        },
    }
    for name, section in (("tiny_train", _trained(folder, slim_cfg(), clips)), ("tiny_study", study)):
        (folder / f"{name}.yaml").write_text(OmegaConf.to_yaml(section))
    return ["study", "--config-name=tiny_study", f"--config-dir={folder}"]


@pytest.fixture(scope="package")
def finished(tiny_study: list[str], forked: Forks) -> SimpleNamespace:
    """A study that was killed twice in its second arm, once as that was measured, and started again.

    It has ``out``, the times of the first arm's files, and what the last start said.
    """
    out = Path(tiny_study[2].partition("=")[2]) / "made"
    command = [sys.executable, "-m", "nemo_vtb.cli", *tiny_study]
    first, second = (out / "arms" / arm / "seed0" for arm in ("joint", "speech_only"))
    _killed(command, lambda: (first / "arm.json").exists() and (second / "settings.json").exists())
    assert not (second / "arm.json").exists()
    kept = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    _killed(command, lambda: any(second.glob("measuring/answers/*.jsonl")))
    for path in second.glob("measuring/answers/*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(row | {"asked": "before the kill"}) + "\n" for row in rows))
    command[0] = forked.python
    again = subprocess.run(command, env=os.environ | {"VTB_FORKS": forked.python}, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    return SimpleNamespace(out=out, kept=kept, said=again.stdout)


def _killed(command: list[str], when: Callable[[], bool]) -> None:
    """Kills a command as soon as something is so, and waits for its worker to end."""
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not when():
        assert run.poll() is None, run.stdout.read()
        time.sleep(0.05)
    (worker,) = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    # A worker that outlived its parent would train beside the next one.
    for _ in range(600):
        if not Path(f"/proc/{worker}").exists() or "(Z)" in Path(f"/proc/{worker}/status").read_text():
            return
        time.sleep(0.1)
    raise AssertionError("the worker outlived its parent")


def _rows(folder: Path, name: str, *found: dict[str, Any]) -> str:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(path)


def _turn(who: str, said: Any) -> dict[str, Any]:
    if isinstance(said, str):
        return {"from": who, "type": "text", "value": said}
    return {"from": who, "type": "audio", "value": str(said.path), "text": said.text}


def _chat(name: str, *said: Any, **custom: Any) -> dict[str, Any]:
    *asked, answer = said
    turns = [*(_turn("User", part) for part in asked), _turn("Assistant", answer)]
    return {"id": name, "conversations": turns, "custom": custom}


def _trained(folder: Path, model: dict[str, Any], clips: list[SimpleNamespace]) -> dict[str, Any]:
    """A training config of one step on texts and clips."""
    kinds = {
        "text": [_chat(f"t{number}", f"Say {number}.", f"Here is number {number}.") for number in range(12)],
        "asr": [_chat(f"a{number}", clip, clip.text) for number, clip in enumerate(clips)],
    }
    entries = {kind: [{"manifest_filepath": _rows(folder, kind, *found)}] for kind, found in kinds.items()}
    common = {
        "prompt_format": "chatml",
        "audio_locator_tag": model["audio_locator_tag"],
        "token_equivalent_duration": 0.08,
    }
    blend = {"kinds": {kind: {"share": 0.5, "input_cfg": entry} for kind, entry in entries.items()}}
    return {
        "seed": 0,
        "model": model,
        "data": {
            "train_ds": {**common, "batch_tokens": 128, "blend": blend},
            "validation_ds": {**common, "batch_tokens": 64, "kinds": {"asr": {"input_cfg": entries["asr"]}}},
        },
        "trainer": {
            "accelerator": "cpu",
            "max_steps": 1,
            "limit_val_batches": 0,
            "use_distributed_sampler": False,
            "check_val_every_n_epoch": None,
            **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
        },
    }


def _asked(folder: Path, clips: list[SimpleNamespace]) -> dict[str, Any]:
    """A section ``eval``: two clips, a question, a prompt each way, a conversation, two texts and a chat."""
    one, other = clips[:2]
    anything = {"type": "words", "at_least": 0}
    spoken = [
        {"audio_filepath": str(clip.path), "duration": clip.duration, "text": clip.text, "lang": "en", "id": name}
        for name, clip in (("one", one), ("other", other))
    ]
    turns = [
        *(_turn("User", one), _turn("User", "Say it."), _turn("Assistant", "yes")),
        *(_turn("User", "And now?"), _turn("Assistant", "no")),
    ]
    script = {"id": "talk", "conversations": turns, "custom": {"checks": [None, anything]}}
    suite = [
        {"id": "s1", "prompt": "Say hi.", "check": anything},
        {"id": "s2", "prompt": "Say two words.", "check": {"type": "words", "at_least": 2}},
    ]
    choices = [
        {"id": "c1", "prompt": "One and one?", "options": ["two", "three"], "answer": 0},
        {"id": "c2", "prompt": "Which of them flies?", "options": ["a stone", "a bird"], "answer": 1},
    ]
    question, prompt = _chat("q", one, "What?", "that"), _chat("m", one, other, "x", check=anything)
    return {
        "max_new_tokens": 4,
        "bootstrap": 50,
        "sets": {
            "clips": {"kind": "asr", "type": "nemo", "manifest_filepath": _rows(folder, "spoken", *spoken)},
            "people": {"kind": "asr", "type": "nemo", "manifest_filepath": _rows(folder, "people", spoken[0])},
            "asked": {"kind": "sqa", "manifest_filepath": _rows(folder, "sqa", question)},
            "each_way": {"kind": "mixed", "manifest_filepath": _rows(folder, "mixed", prompt)},
            "talks": {"kind": "multiturn", "manifest_filepath": _rows(folder, "talks", script)},
        },
        "text": {
            "short": {"type": "replies", "path": _rows(folder, "suite", *suite)},
            "choose": {"type": "choices", "path": _rows(folder, "choices", *choices)},
            "chat": {"type": "likelihood", "path": _rows(folder, "chats", _chat("c", "Hello.", "Hello to you."))},
        },
    }
