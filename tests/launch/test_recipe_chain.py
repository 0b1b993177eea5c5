"""The shipped recipe with its own commands on a real Slurm of two nodes: each stage killed at work, and finished.

Minutes of real work, so by hand: ``VTB_RECIPE_CHAIN=REPORT.json pytest tests/launch/test_recipe_chain.py``.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import soundfile

from nemo_vtb.paths import corpora_dir

ROOT = Path(__file__).parents[2]
REPORT = os.environ.get("VTB_RECIPE_CHAIN")
SMALL = ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1", "--time=60")
STAGES = ("librispeech", "covost2", "text", "qa", "speech", "train", "eval")
# What there is of a stage while it is at work, in the folder of the run.
AT_WORK = {
    **{"librispeech": "data/librispeech", "covost2": "data/covost2", "text": "data/magpie"},
    **{"qa": "data/qa/*", "speech": "data/speech/*", "train": "checkpoints/progress", "eval": "eval"},
}
# Kills its command the first time, as soon as there is something of it.
KILLED = """#!/bin/bash
name=$1 begun=$2; shift 2
[ ! -e "$VTB_RUN/../$name.killed" ] || exec "$@"
"$@" & pid=$!
while ! compgen -G "$VTB_RUN/$begun" >/dev/null && kill -0 $pid 2>/dev/null; do sleep 0.02; done
kill -9 $pid 2>/dev/null && echo at work >> "$VTB_RUN/../$name.killed"
touch "$VTB_RUN/../$name.killed"
exit 137
"""
pytestmark = pytest.mark.skipif(
    not REPORT, reason="minutes of real work: run by hand with VTB_RECIPE_CHAIN=REPORT.json"
)


def corpora(root: Path) -> None:
    """LibriSpeech, CoVoST 2 and Magpie in their published layouts, of packaged recordings and chats."""
    prompts = corpora_dir() / "asterisk_prompts"
    rows = [json.loads(line) for line in (prompts / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if len(row["text"].split()) > 15 and row["duration"] < 20][:4]
    for part in ("train-clean-100", "test-clean", "test-other"):
        folder = root / "librispeech" / "LibriSpeech" / part / "19" / "198"
        folder.mkdir(parents=True)
        said = []
        for number, row in enumerate(rows):
            samples, rate = soundfile.read(prompts / row["audio_filepath"])
            soundfile.write(folder / f"19-198-{number:04}.flac", samples, rate)
            said.append(f"19-198-{number:04} {row['text'].upper()}\n")
        (folder / "19-198.trans.txt").write_text("".join(said))
    common = root / "common_voice" / "en"
    (common / "clips").mkdir(parents=True)
    names = "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant locale"
    for split, row in zip(("train", "dev", "test"), rows, strict=False):
        samples, rate = soundfile.read(prompts / row["audio_filepath"])
        name = f"common_voice_en_{split}.mp3"
        soundfile.write(common / "clips" / name, samples, rate, format="MP3")
        fields = ["c1", name, "s1", row["text"], "", "2", "0", "", "", "", "", "en", ""]
        (common / f"{split}.tsv").write_text("\t".join([*names.split(), "segment"]) + "\n" + "\t".join(fields) + "\n")
        translated = f"path\tsentence\ttranslation\tclient_id\n{name}\t{row['text']}\tGuten Tag.\tc1\n"
        (common / f"covost_v2.en_de.{split}.tsv").write_text(translated)
    chats = []
    for number in range(4):
        turns = [{"from": "human", "value": f"Tell me about day {number + 1}. What do I do then?"}]
        turns.append({"from": "gpt", "value": "You get up, and you go for a walk."})
        chats.append({"uuid": f"u{number}", "conversations": turns, "instruction": "", "response": ""})
    (root / "magpie" / "data").mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(chats), root / "magpie" / "data" / "train-00000-of-00001.parquet")


def recipe(run: Path, tiny_llm: Path, tiny_whisper: Path) -> Path:
    """The shipped recipe, a small model in it, each command within what kills it once."""
    tiny = ["model=smollm2_whisper", f"model.pretrained_llm={tiny_llm}", f"model.pretrained_asr={tiny_whisper}"]
    tiny += [f"++model.perception.modality_adapter.{size}" for size in ("d_model=32", "n_heads=4", "n_layers=1")]
    tiny += ["model.encoder_cache=false", "data.train_ds.batch_tokens=1500", "+threads=1", "trainer.max_steps=6"]
    tiny += ["trainer.callbacks.0.every_n_train_steps=2", "trainer.val_check_interval=1"]
    tiny += ["++trainer.limit_val_batches=0", "++trainer.accelerator=cpu"]
    more = {
        "speech": ["voices.en=[kokoro]", "gate=null"],
        "train": tiny,
        "eval": ["eval.max_new_tokens=4", "eval.bootstrap=20", "threads=1"],
    }
    made = []
    lines = (ROOT / "examples" / "slurm" / "recipes" / "public.txt").read_text().splitlines()
    for line in (line for line in lines if line and not line.startswith("#")):
        name, _, command = line.partition(" ")
        ranks = "ranks " if command.startswith("ranks ") else ""
        command = command.removeprefix("ranks ").removeprefix("vtb ").replace("=cuda", "=cpu")
        command = command.replace("llm.dtype=bfloat16", "llm.dtype=float32")
        words = shlex.join(more.get(name, []))
        kills = f"bash $VTB_RUN/../killed.sh {name} {shlex.quote(AT_WORK[name])}"
        made.append(f"{name} {ranks}{kills} {sys.executable} -m nemo_vtb.cli {command} {words}")
    # Beside the folder of the run: NeMo moves what lies in there away when a run goes on.
    path = run.parent / "recipe.txt"
    path.write_text("\n".join(made) + "\n")
    (run.parent / "killed.sh").write_text(KILLED)
    return path


def test_each_stage_is_killed_at_work_and_the_recipe_finishes(
    slurm: SimpleNamespace, tmp_path: Path, tiny_llm: Path, tiny_whisper: Path, until: Callable[..., None]
):
    corpora(tmp_path / "corpora")
    run = tmp_path / "run"
    run.mkdir()
    path = recipe(run, tiny_llm, tiny_whisper)
    script = str(ROOT / "examples" / "slurm" / "recipe.sbatch")
    env = {"VTB_RUN": str(run), "CORPORA": str(tmp_path / "corpora"), "JUDGE_LLM": "qwen2.5-coder-0.5b-instruct"}
    command = ["sbatch", "--parsable", *SMALL, f"--output={tmp_path}/job.out", script, str(path)]
    job = subprocess.run(command, env=os.environ | env, capture_output=True, text=True, check=True).stdout.strip()

    def ended() -> bool:
        time.sleep(2)
        told = (tmp_path / "job.out").read_text() if (tmp_path / "job.out").exists() else ""
        return "finished: every stage" in told or "gave up in stage" in told

    until(ended, f"the end of job {job}", 2400)
    told = (tmp_path / "job.out").read_text()
    assert "finished: every stage" in told, told[-6000:]
    stages = {
        name: {
            "attempts": sum(f"stage {name}, attempt" in line for line in told.splitlines()),
            "killed_at_work": "at work" in (tmp_path / f"{name}.killed").read_text(),
        }
        for name in STAGES
    }
    scores = json.loads((run / "eval" / "eval.json").read_text())["asr"]["en"]["wer"]
    made = {
        name: len((run / "data" / name / "conversations.jsonl").read_text().splitlines()) for name in ("qa", "speech")
    }
    step, most = map(int, (run / "checkpoints" / "progress").read_text().split())
    report = {
        "nodes": 2,
        "stages": stages,
        "conversations": made,
        "step": step,
        "max_steps": most,
        "wer_n": scores["n"],
    }
    assert REPORT is not None
    Path(REPORT).write_text(json.dumps(report, indent=2) + "\n")
    assert all(stage == {"attempts": 2, "killed_at_work": True} for stage in stages.values()), stages
    assert step == most == 6 and all(made.values())
