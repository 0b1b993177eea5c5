"""Where a command's time goes until it is at work, beside another version of the project, in one run.

git worktree add /tmp/before 2cb2e6b
python examples/benchmarks/start.py --against /tmp/before --json examples/benchmarks/results/start.json

Each command runs in a process of its own, the versions in turns, on the shipped data and models and one thread:
`vtb chat` answers one written line, `vtb train` and `vtb quickstart` run for a few steps. Seconds of the processor and
of the clock by stage, medians. The models must have been fetched (`vtb assets fetch`); a first round that is not
counted leaves what later starts find: bytecode, compiled loops, what trying out the LLM has found.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_STEPS = 3
_TRAIN = [
    f"trainer.max_steps={_STEPS}",
    "++trainer.val_check_interval=2",
    "++trainer.limit_val_batches=1",
    "trainer.precision=32-true",
    "model.llm_dtype=float32",
    "data.train_ds.batch_tokens=256",
    "data.validation_ds.batch_tokens=256",
    "threads=1",
]
# What it asks before the training is not a start.
_ONE_QUESTION = [
    "held_out.asked=[{kind: asr, at_most: 1, type: nemo, manifest_filepath: 'corpora:spoken_commands/manifest.jsonl', "
    "only: {split: test}}]",
    "held_out.text_suite=SUITE",
]
COMMANDS = {
    "chat": ["chat", "shipped", "--threads", "1", "--max-tokens", "8"],
    "train": ["train", "--config-name=quickstart", *_TRAIN],
    "quickstart": ["quickstart", "--out=OUT", *_TRAIN, *_ONE_QUESTION],
}
# Notes the time at the ends of stages, whichever version it is: the classes are wrapped once they are imported.
_PROGRAM = """
import builtins, functools, json, sys, time
import nemo_vtb.cli

plain, marks, wrapped = builtins.__import__, [], set()

def mark(name):
    marks.append([name, time.process_time(), time.perf_counter()])

def around(owner, name, stage):
    inner = getattr(owner, name)
    @functools.wraps(inner)
    def outer(*args, **kwargs):
        mark("until " + stage)
        try:
            return inner(*args, **kwargs)
        finally:
            mark(stage)
    setattr(owner, name, outer)

WRAPPED = {
    "nemo_vtb.models.voice_text_blender": [
        ("VoiceTextBlender", "__init__", "model"), ("VoiceTextBlender", "training_step", "training"),
    ],
    "nemo_vtb.inference.session.decoder": [("Decoder", "write", "asked")],
    "lightning.pytorch.trainer.trainer": [("Trainer", "save_checkpoint", "save")],
    "lightning.pytorch.loops.evaluation_loop": [("_EvaluationLoop", "run", "validation")],
}

def importing(name, *args, **kwargs):
    module = plain(name, *args, **kwargs)
    for place in [p for p in WRAPPED if p not in wrapped and p in sys.modules]:
        for owner, method, stage in WRAPPED[place]:
            if not hasattr(sys.modules[place], owner):
                break
            wrapped.add(place)
            around(getattr(sys.modules[place], owner), method, stage)
    return module

builtins.__import__ = importing
mark("begin")
code = nemo_vtb.cli.main(sys.argv[2:])
mark("end")
with open(sys.argv[1], "w") as file:
    json.dump(marks, file)
sys.exit(code)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="a checkout of the other version")
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", choices=COMMANDS, action="append", help="some of the commands")
    args = parser.parse_args()
    from nemo_vtb.reports.environment import environment

    versions = {"before": args.against.resolve(), "now": _ROOT}
    about = environment(f"python {' '.join(sys.argv)}", seed=0) | {"load_average": os.getloadavg()[0]}
    commits = {name: commit_of(root) for name, root in versions.items()}
    measured: dict[str, Any] = {}
    for name in args.only or COMMANDS:
        measured[name] = compared(COMMANDS[name], versions, args.times)
        text = json.dumps({"commands": measured, "commits": commits, "environment": about}, indent=2) + "\n"
        if args.json is not None:
            args.json.write_text(text, encoding="utf-8")
    print(text)


def compared(command: list[str], versions: dict[str, Path], times: int) -> dict[str, Any]:
    """Medians by version and stage, and the runs they are of."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in versions}
    for turn in range(times + 1):
        for name, root in versions.items():
            found = stages(command, root)
            if turn:
                runs[name].append(found)
    medians = {
        name: {
            stage: {unit: statistics.median(run[stage][unit] for run in of_version) for unit in ("cpu_s", "wall_s")}
            for stage in of_version[0]
        }
        for name, of_version in runs.items()
    }
    total = {name: found["until it is at work"]["cpu_s"] for name, found in medians.items()}
    return {"median": medians, "to_before": total["now"] / total["before"], "runs": runs}


def stages(command: list[str], root: Path) -> dict[str, dict[str, float]]:
    """Seconds of each stage of one run."""
    with tempfile.TemporaryDirectory() as folder:
        marks, suite = Path(folder) / "marks.json", Path(folder) / "suite.jsonl"
        suite.write_text('{"id": "one", "prompt": "Hi.", "check": {"type": "words", "at_least": 1}}\n')
        command = [word.replace("SUITE", str(suite)).replace("OUT", f"{folder}/out") for word in command]
        subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(marks), *command],
            cwd=root if command[0] != "chat" else folder,
            input="hello\n/quit\n",
            text=True,
            env=environment_of(root),
            stdout=subprocess.DEVNULL,
            check=True,
        )
        noted = json.loads(marks.read_text())
    return _named(noted, "asked" if command[0] == "chat" else "training")


def _named(noted: list[list[Any]], work: str) -> dict[str, dict[str, float]]:
    first: dict[str, list[float]] = {}
    for name, *times in noted:
        first.setdefault(name, times)
    at_work = f"until {work}"
    edges = {
        "import and config": ("begin", "until model"),
        "model": ("until model", "model"),
        "the rest of the start": ("model", at_work),
        "first step" if work == "training" else "first answer": (at_work, work if work == "training" else "end"),
        "a validation": ("until validation", "validation"),
        "a save": ("until save", "save"),
    }
    found = {
        stage: {"cpu_s": first[end][0] - first[start][0], "wall_s": first[end][1] - first[start][1]}
        for stage, (start, end) in edges.items()
        if start in first and end in first
    }
    found["until it is at work"] = {
        unit: first[at_work][number] - first["begin"][number] for number, unit in enumerate(("cpu_s", "wall_s"))
    }
    return found


def environment_of(root: Path) -> dict[str, str]:
    """In which a process runs a checkout's version, on one thread."""
    path = os.pathsep.join([str(root), str(root / "nemo_vtb" / "hydra_plugin")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def commit_of(root: Path) -> str:
    return subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=root, text=True).strip()


if __name__ == "__main__":
    main()
