"""Every shipped config of a training run and every option of its groups, through the installed ``vtb train``."""

import json
import shutil
import subprocess
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import pytest
from forks import Forks, fresh_environment

from nemo_vtb.paths import config_dir, corpora_dir

# Of jobs that train nothing by themselves.
OTHER_JOBS = {"eval", "recipes", "study", "synth"}
# What is named inside an input_cfg entry.
POOLS = "prompts"
SMALL_ADAPTER = [f"++model.perception.modality_adapter.{size}" for size in ("d_model=32", "n_heads=4", "n_layers=1")]


@pytest.fixture(scope="module")
def whisper_run(tiny_llm: Path, tiny_whisper: Path) -> list[str]:
    """Overrides that make a config of SmolLM2 and Whisper tiny, and one step long."""
    models = [f"model.pretrained_llm={tiny_llm}", f"model.pretrained_asr={tiny_whisper}", *SMALL_ADAPTER]
    return [*models, "data.train_ds.batch_tokens=512", "trainer.max_steps=1", "++trainer.limit_val_batches=1"]


@pytest.fixture(scope="module")
def open_speech(tmp_path_factory: pytest.TempPathFactory, clips: list[SimpleNamespace]) -> Path:
    """What ``build_open_speech.py`` would leave."""
    folder = tmp_path_factory.mktemp("open_speech")
    splits = ("train_open", "train_broad", "train_phone", "train_people", "train_lists", "dev")
    rows = [
        {"audio_filepath": str(clip.path), "duration": clip.duration, "text": clip.text, "lang": "en", "split": split}
        for clip, split in zip(cycle(clips), splits, strict=False)
    ]
    questions = [
        {"id": f"q{number}", "conversations": [
            {"from": "User", "type": "audio", "value": row["audio_filepath"], "text": row["text"]},
            {"from": "User", "type": "text", "value": "What is the first word?"},
            {"from": "Assistant", "type": "text", "value": row["text"].split()[0]}], "split": row["split"]}
        for number, row in enumerate(rows)
    ]  # fmt: skip
    for name, made in (("manifest.jsonl", rows), ("sqa.jsonl", questions)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in made))
    return folder


@pytest.fixture(scope="module")
def study_made(tmp_path_factory: pytest.TempPathFactory, clips: list[SimpleNamespace]) -> Path:
    """What ``build_study_train.py`` would leave: every sentence is the same clip."""
    from nemo_vtb.parts.spoken_spans import sentences

    folder = tmp_path_factory.mktemp("study_made")
    clip = {"audio_filepath": str(clips[0].path), "duration": clips[0].duration, "lang": "en", "speaker": "a"}
    turns = [("User", "Name a color. Be brief."), ("Assistant", "Blue.")]
    said = [{"from": who, "type": "text", "value": value} for who, value in turns]
    chats = (corpora_dir() / "spoken_commands" / "chats.jsonl").read_text(encoding="utf-8").splitlines()
    users = [turn["value"] for line in chats for turn in json.loads(line)["conversations"][:1]] + [turns[0][1]]
    texts = dict.fromkeys(text[start:end] for text in users for start, end in sentences(text))
    files = {
        "open": [{**clip, "text": clips[0].text, "split": split} for split in ("train", "dev")],
        "replay": [{"id": "r", "conversations": said}],
        "bank": [{**clip, "text": text} for text in texts],
    }
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def canary_run(tiny_llm: Path) -> list[str]:
    """Overrides for canary_gemma: shapes of a toy with random weights, and data."""
    rows = "corpora:spoken_commands/sqa.jsonl"
    entry = f"[{{type: multimodal_conversation, manifest_filepath: '{rows}', only: {{split: train}}}}]"
    kinds = [f"data.train_ds.blend.kinds.{kind}.input_cfg={entry}" for kind in ("text", "asr", "ast", "sqa", "mixed")]
    toy = ["hidden_size=64", "intermediate_size=128", "num_hidden_layers=1", "num_attention_heads=4", "head_dim=16"]
    encoder = ["n_layers=1", "d_model=32", "n_heads=4", "subsampling_conv_channels=16"]
    return [
        *kinds,
        *(f"model.llm_config.{size}" for size in [*toy, "vocab_size=49200"]),
        *(f"model.encoder_config.{size}" for size in encoder),
        *SMALL_ADAPTER,
        f"model.pretrained_llm={tiny_llm}",
        "model.prompt_format=chatml",
        "model.pretrained_weights=false",
        "~model.pretrained_asr",
        "data.train_ds.num_workers=0",
        "data.train_ds.batch_tokens=256",
        "trainer.accelerator=cpu",
        "trainer.max_steps=1",
    ]


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def sentences_of_chats() -> set[str]:
    """What people say in one sentence, in the chats that ``blend=speak`` speaks."""
    path = corpora_dir() / "smollm2_chat" / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:200]]
    said = {turn["value"].strip() for row in rows for turn in row["conversations"] if turn["from"] == "User"}
    return {text for text in said if sum(text.count(mark) for mark in ".?!\n") == 1}


def test_every_config_and_every_option_trains(
    whisper_run: list[str],
    canary_run: list[str],
    open_speech: Path,
    study_made: Path,
    clips: list[SimpleNamespace],
    forked: Forks,
    tmp_path: Path,
):
    bank = tmp_path / "bank.jsonl"
    with bank.open("w") as file:
        for sentence in sentences_of_chats():
            spoken = {"audio_filepath": str(clips[0].path), "duration": clips[0].duration, "voice": "a"}
            file.write(json.dumps({"text": sentence, **spoken}) + "\n")
    alone = ["trainer.devices=1", "trainer.num_nodes=1"]
    quickstart = ["train", "--config-name=quickstart", *whisper_run]
    reference = [f"data.open_speech={open_speech}", f"data.replay={study_made}", "data.train_ds.batch_tokens=1536"]
    more = {
        "+blend=speak": [f"data.train_ds.blend.kinds.mixed.speak.bank={bank}"],
        "data=reference": reference,
        # Its telephone prompts are longer than the other toys' batches.
        "data=study": [f"data.made={study_made}", "data.train_ds.batch_tokens=1536"],
    }
    asked = (
        "[{type: nemo, manifest_filepath: 'corpora:spoken_commands/manifest.jsonl', only: {split: train}, prompts: %s}]"
    )
    jobs = {
        "quickstart": quickstart,
        "reference": ["train", "--config-name=reference", *whisper_run, *reference],
        "study_train": ["train", "--config-name=study_train", *whisper_run, *more["data=study"]],
        "canary_gemma": ["train", "--config-name=canary_gemma", *canary_run, *alone],
        "canary_gemma_large": ["train", "--config-name=canary_gemma_large", *canary_run, *alone],
    }
    # The quickstart's own, and another way to run its LLM.
    presets = set(options("model")) - {"smollm2_whisper", "megatron"}
    for preset in sorted(presets - {"canary_gemma"}):
        bands = "++model.perception.preprocessor.features=128"
        own = whisper_run if preset.startswith("whisper") else [*canary_run, bands]
        kinds = [line for line in canary_run if line.startswith("data.train_ds.blend")]
        line = [word for word in own if not word.startswith(("model.llm_config", *kinds, "model.prompt_format"))]
        jobs[f"model={preset}"] = [
            *("train", "--config-name=canary_gemma", f"model={preset}", *kinds, *alone, *line),
            *("model.prompt_format=chatml", "data.train_ds.num_workers=0", "trainer.accelerator=cpu"),
        ]
    groups = {path.name for path in config_dir().iterdir() if path.is_dir()} - OTHER_JOBS - {POOLS}
    for group in sorted(groups):
        for option in sorted(set(options(group)) - (presets if group == "model" else set())):
            sign = "" if group in ("data", "lora", "model", "trainer") else "+"
            name = f"{sign}{group}{'@_global_' if group == 'vtb' else ''}={option}"
            jobs[name] = [*quickstart, name, *more.get(name, [])]
    for pool in options(POOLS):
        jobs[f"prompts: {pool}"] = [*quickstart, f"data.train_ds.blend.kinds.asr.input_cfg={asked % pool}"]
    configs = {path.stem for path in config_dir().glob("*.yaml")}
    assert configs <= set(jobs) and len(jobs) > 20
    jobs["+trainer.strategy=vtb_fsdp2"] = [*quickstart, "+trainer.strategy=vtb_fsdp2"]
    variables = {"VTB_DEVICES": "1", "VTB_NODES": "1", "VTB_RUN": "the_run"}
    done = forked.run(jobs.items(), tmp_path / "jobs", **variables)
    failed = {name: said.strip().splitlines()[-1] for name, (code, said) in done.items() if code}
    assert not failed
    kept = {name: list((tmp_path / "jobs" / f"job_{n}").rglob("last.ckpt")) for n, name in enumerate(jobs)}
    assert all(len(files) == 1 for files in kept.values()), kept


def test_in_a_process_of_its_own(whisper_run: list[str], tmp_path: Path):
    line = ["+cluster=slurm", "+trainer.strategy=vtb_fsdp2"]
    command = [shutil.which("vtb"), "train", "--config-name=quickstart", *whisper_run, *line]
    variables = {"VTB_DEVICES": "1", "VTB_NODES": "1", "VTB_RUN": str(tmp_path / "run")}
    done = subprocess.run(
        command, cwd=tmp_path, env=fresh_environment() | variables, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("last.ckpt"))) == 1
