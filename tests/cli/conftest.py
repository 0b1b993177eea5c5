import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from nemo_vtb.paths import corpora_dir


@pytest.fixture(scope="module")
def workplace(
    slim_cfg: Callable[..., dict[str, Any]],
    clips: list[SimpleNamespace],
    trained: tuple[Any, Path],
    tiny_llm: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> SimpleNamespace:
    """A folder of tiny configs for every command, a checkpoint and a few rows of data."""
    folder = tmp_path_factory.mktemp("workplace")
    configs = folder / "configs"
    configs.mkdir()
    rows = [{"audio_filepath": str(c.path), "duration": c.duration, "text": c.text, "lang": "en"} for c in clips]
    _write(folder / "clips.jsonl", rows)
    chats = [
        {"id": f"t{n}", "conversations": [_turn("User", f"Say {n}. Now."), _turn("Assistant", f"Here is {n}.")]}
        for n in range(6)
    ]
    _write(folder / "chats.jsonl", chats)
    _write(folder / "suite.jsonl", [{"id": "a", "prompt": "Say a.", "check": {"type": "words", "at_least": 0}}])
    labels = (corpora_dir() / "eval_sets" / "judge_labels.jsonl").read_text().splitlines()[:2]
    (folder / "labels.jsonl").write_text("\n".join(labels) + "\n")
    clip_entry = {"type": "nemo", "manifest_filepath": str(folder / "clips.jsonl")}
    chat_entry = {"type": "multimodal_conversation", "manifest_filepath": str(folder / "chats.jsonl")}
    model = slim_cfg(llm_dtype="auto", attn_implementation="auto", encoder_cache=False, row_tokens=64)
    model["text_kl"] = 1.0
    common = {"prompt_format": "chatml", "audio_locator_tag": "<|audio|>", "token_equivalent_duration": 0.08}
    kinds = {
        "text": {"share": 0.5, "input_cfg": [chat_entry]},
        "asr": {"share": 0.5, "input_cfg": [clip_entry]},
    }
    blend = {"unit": "supervised_tokens", "strategy": "stratified", "kinds": kinds}
    train = {**common, "batch_tokens": 128, "seed": 0, "num_workers": 0, "max_bad_share": 0.0, "blend": blend}
    held_out = {**common, "batch_tokens": 64, "kinds": {k: {"input_cfg": v["input_cfg"]} for k, v in kinds.items()}}
    trainer = {
        "accelerator": "cpu",
        "devices": 1,
        "max_steps": 1,
        "precision": "auto",
        "gradient_clip_val": 1.0,
        "limit_val_batches": 1,
        "num_sanity_val_steps": 0,
        "check_val_every_n_epoch": None,
        "val_check_interval": 1,
        "log_every_n_steps": 1,
        "use_distributed_sampler": False,
        "default_root_dir": str(folder / "run"),
        **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
    }
    asked = {"kind": "asr", "at_most": 1, **clip_entry}
    training = {
        "seed": 0,
        "threads": "auto",
        "model": model,
        "data": {"train_ds": train, "validation_ds": held_out},
        "trainer": trainer,
        "held_out": {
            "max_new_tokens": 2,
            "text": str(folder / "chats.jsonl"),
            "text_suite": str(folder / "suite.jsonl"),
            "asked": [asked],
        },
    }
    measured = {
        "bootstrap": 10,
        "max_new_tokens": 2,
        "sets": {"clips": asked},
        "text": {"chat": {"type": "likelihood", "path": str(folder / "chats.jsonl")}},
    }
    evaluation = {
        "out": str(folder / "eval"),
        "seed": 0,
        "threads": "auto",
        "device": "cpu",
        "precision": "auto",
        "batch_size": 4,
        "eval": {**measured, "max_text_drop": None, "judge": None},
    }
    study = {
        "out": str(folder / "study"),
        "part": "0/1",
        "only": [],
        "threads": "auto",
        "keep_checkpoints": True,
        "train": "training",
        "common": ["trainer.max_steps=1"],
        "arms": {"joint": {"title": "joint", "text_share": 0.15, "seeds": [0], "overrides": []}},
        "claims": [{"title": "hears", "evidence": [{"arm": "joint", "measure": "wer", "below": 0.9}]}],
        "measure": {"seed": 0, "device": "cpu", "precision": "auto", "batch_size": 2, "apart": [], "eval": measured},
    }
    for name, config in {"training": training, "evaluation": evaluation, "arms_of_a_study": study}.items():
        (configs / f"{name}.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    shutil.copy(trained[1], folder / "last.ckpt")
    return SimpleNamespace(folder=folder, configs=configs, checkpoint=folder / "last.ckpt", llm=tiny_llm)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _turn(who: str, text: str) -> dict[str, str]:
    return {"from": who, "value": text, "type": "text"}
