"""A folder like the root of a checkout, in which documented commands run: short copies of what they read."""

import json
import re
import shutil
from itertools import cycle
from pathlib import Path
from typing import Any

from corpus_miniatures import ALL
from documents import ROOT
from omegaconf import OmegaConf

_TESTS = ROOT / "tests"
_ROWS = 4
KINDS = ("text", "asr", "ast", "sqa", "mixed")
# Folders below /data, in which readers are said to have public corpora.
_CORPORA = {"common_voice": "covost2", "ultrachat_200k": "ultrachat"} | {
    name: name for name in ("librispeech", "mls", "covost2", "fleurs")
}


def make_scratch(folder: Path, model: dict[str, Any], checkpoint: Path, clips: Any) -> None:
    """Fills the folder.

    Args:
        folder: Empty.
        model: A tiny ``model`` section.
        checkpoint: Of such a model.
        clips: Recordings for what stands in for public corpora.
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
    _write_rows(folder, folder / "examples" / "corpora" / "smollm2_chat" / "train.jsonl")
    _write_stores(folder)
    for name, corpus in _CORPORA.items():
        ALL[corpus](folder / "data" / name, clips)
    shutil.copy(_TESTS / "hydra_plugin" / "launcher.py", folder / "salm_train.py")
    config = _launcher_config(folder, model)
    OmegaConf.save(OmegaConf.create(config), folder / "launcher.yaml")
    OmegaConf.save(OmegaConf.create(_stock_config(config)), folder / "stock_launcher.yaml")
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
    (folder / "runs" / "open_speech").mkdir()
    splits = ("train_open", "train_broad", "train_phone", "train_people", "train_lists", "dev")
    rows = [{**row, "id": f"{split}/{row['id']}", "split": split} for split in splits for row in _recordings()]
    _write(folder / "runs" / "open_speech" / "manifest.jsonl", rows)
    asked = [{**_chat(row["id"], row, "that"), "split": row["split"]} for row in rows]
    _write(folder / "runs" / "open_speech" / "sqa.jsonl", asked)
    replay = folder / "runs" / "study_data" / "train"
    replay.mkdir(parents=True)
    chats = [_chat(f"c{n}", f"Say {n}. Then stop.", f"Here is number {n}.") for n in range(8)]
    _write(replay / "replay.jsonl", chats)
    _write(
        replay / "bank.jsonl",
        _bank([*chats, *_read(folder / "examples" / "corpora" / "spoken_commands" / "chats.jsonl")]),
    )


def _left_out(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name in ("audio", "__pycache__") or name.endswith((".safetensors", ".png"))}


def _write_rows(folder: Path, chats_of_corpus: Path) -> None:
    chats = [_chat(f"c{n}", f"Say {n}. Then stop.", f"Here is number {n}.") for n in range(8)]
    spoken = _recordings()
    turns = [{"from": "User", "value": "Hi. Who are you?"}, {"from": "Assistant", "value": "A model."}]
    shared = [{"from": "human", "value": "<sound>\nWhat is said?"}, {"from": "gpt", "value": spoken[0]["text"]}]
    files = {
        "text": chats,
        "train": spoken,
        "sft": [{"mask": "User", "system": "", "conversations": turns}],
        "chats": [{"id": "g", "conversations": shared, "sound": spoken[0]["audio_filepath"]}],
        "manifest": spoken,
        "translated": [{**row, "answer": row["text"], "target_lang": "es"} for row in spoken],
        "asked": [_chat(row["id"], row, "that") for row in spoken],
        "suite": [{"id": "s", "prompt": "Say hi.", "check": {"type": "words", "at_least": 0}}],
        "bank": _bank([*_read(chats_of_corpus), *chats]),
    }
    for name, rows in (files | {"recordings": files["bank"]}).items():
        _write(folder / f"{name}.jsonl", rows)


def _bank(chats: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A recording, the same two in turn, of every sentence with which chats begin."""
    said = [row["conversations"][0]["value"] for row in chats]
    sentences = [sentence for text in said for sentence in re.split(r"(?<=[.?!]) ", text)]
    return [{**row, "text": text} for row, text in zip(cycle(_recordings()), sentences)]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_stores(folder: Path) -> None:
    """A Shar folder, a folder of files of rows, and a recording."""
    import soundfile
    from lhotse import CutSet, Recording, SupervisionSegment

    cuts = []
    for row in _recordings():
        cut = Recording.from_file(row["audio_filepath"]).to_cut()
        cut.supervisions = [SupervisionSegment(row["id"], cut.recording_id, 0, cut.duration, text=row["text"])]
        cuts.append(cut)
    (folder / "shar").mkdir()
    CutSet.from_cuts(cuts).to_shar(folder / "shar", fields={"recording": "flac"})
    soundfile.write(folder / "question.wav", *soundfile.read(_recordings()[0]["audio_filepath"]))
    (folder / "corpus").mkdir()
    _write(folder / "corpus" / "manifest.jsonl", _recordings())


def _recordings() -> list[dict[str, Any]]:
    """Two rows of a manifest, with a sentence each."""
    folder = ROOT / "examples" / "corpora" / "asterisk_prompts"
    fit = [row for row in _read(folder / "manifest.jsonl") if row["lang"] == "en" and len(row["text"].split()) >= 6]
    shortest = sorted(fit, key=lambda row: row["duration"])[:2]
    keys = ("id", "duration", "text", "lang")
    return [
        {"id": row["key"]}
        | {key: row[key] for key in keys if key in row}
        | {"audio_filepath": str(folder / row["audio_filepath"])}
        for row in shortest
    ]


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _chat(name: str, said: Any, answer: str) -> dict[str, Any]:
    written = isinstance(said, str)
    user = (
        {"value": said, "type": "text"}
        if written
        else {"value": said["audio_filepath"], "type": "audio", "text": said["text"]}
    )
    reply = {"from": "Assistant", "type": "text", "value": answer}
    return {"id": name, "conversations": [{"from": "User", **user}, reply]}


def _launcher_config(folder: Path, model: dict[str, Any]) -> dict[str, Any]:
    spoken = {"type": "nemo", "manifest_filepath": str(folder / "manifest.jsonl")}
    entries = {
        "text": {"manifest_filepath": str(folder / "text.jsonl")},
        "asr": spoken,
        "ast": {**spoken, "manifest_filepath": str(folder / "translated.jsonl")},
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
    return {"model": without_lora, "data": {"train_ds": train_ds}, "trainer": trainer}


def _stock_config(config: dict[str, Any]) -> dict[str, Any]:
    """The same for stock SALM: its own format and adapter, and recognition alone, for it needs audio in each batch."""
    adapter = {"_target_": "nemo.collections.speechlm2.modules.perception.IdentityConnector", "d_model": 32}
    perception = {**config["model"]["perception"], "modality_adapter": adapter}
    model = {**config["model"], "prompt_format": "qwen", "perception": perception}
    ours = config["data"]["train_ds"]
    blend = {"kinds": {"asr": {**ours["blend"]["kinds"]["asr"], "share": 1.0}}}
    entry = {key: ours[key] for key in ("audio_locator_tag", "token_equivalent_duration")}
    common = {"prompt_format": "qwen", "seed": 0, "shard_seed": 0, "batch_size": 2}
    train_ds = {**common, "input_cfg": [{"type": "vtb_blend", "blend": blend, **entry}]}
    data = {"train_ds": train_ds, "validation_ds": {**common, "datasets": {"none": train_ds}}}
    return {"model": model, "data": data, "trainer": {**config["trainer"], "limit_val_batches": 0}}
