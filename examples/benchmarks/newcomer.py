"""A newcomer's road, timed: from an empty folder to a model trained on five recordings of one's own, and asked.

python examples/benchmarks/newcomer.py --json examples/benchmarks/results/newcomer.json
python examples/benchmarks/newcomer.py --json FILE --steps 2 --quickstart trainer.max_steps=2   # a look

Clones this checkout as committed into an empty folder, makes an environment, installs, and goes on with the commands
of the README and of tutorials/01_your_data.ipynb, whose config and command for training are read from its cells; five
telephone prompts stand for own recordings. Nothing is found in a cache: packages and models are fetched anew. Seconds
of the clock and of the processor by stage. A Python of 3.11 or 3.12 is all that has to be there.
"""

import argparse
import json
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_CLIPS = ("agent-pass", "conf-getpin", "conf-kicked", "conf-muted", "conf-onlyperson")
_WRITTEN = "What is the capital of France?"
# As the Makefile: the release whose CPU build pip finds where it is told to look.
_TORCH = "torch>=2.6" if shutil.which("nvidia-smi") else "torch==2.13.0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where to write what was measured")
    parser.add_argument("--folder", type=Path, help="an empty folder to work in, which is kept; else a temporary one")
    parser.add_argument("--steps", type=int, default=40, help="of training on the recordings")
    parser.add_argument("--quickstart", nargs="*", default=[], help="overrides of vtb quickstart")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = (args.folder or Path(made)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            parser.error(f"--folder {folder} is not empty")
        report = Road(folder).walked(args.steps, args.quickstart)
    args.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(args.json)


class Road:
    """What is walked.

    Attributes:
        checkout: The clone.
        stages: What was done, with seconds.
    """

    def __init__(self, folder: Path) -> None:
        """Walks in ``folder``, which is empty."""
        self.checkout = folder / "nemo_vtb"
        self.stages: list[dict[str, Any]] = []
        # Nothing of the environment that this runs in, and no cache.
        gone = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "STEPS", "HF_HUB_OFFLINE", "OMP_NUM_THREADS")
        self._env = {name: value for name, value in os.environ.items() if name not in gone} | {
            "PATH": f"{self.checkout / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PIP_NO_CACHE_DIR": "1",
            "NEMO_VTB_CACHE": str(folder / "cache"),
        }
        self._folder = folder

    def walked(self, steps: int, quickstart: list[str]) -> dict[str, Any]:
        """The whole road.

        Args:
            steps: Of training on the recordings.
            quickstart: Overrides.

        Returns:
            ``stages``, ``total`` and ``steps``, ``asked`` (what was said and answered), ``environment``.
        """
        with self._stage("clone, environment"):
            self.stages[-1]["commands"].append("git clone nemo_vtb")
            subprocess.run(["git", "clone", "--quiet", "--no-local", _ROOT, self.checkout], check=True, env=self._env)
            self._call(f"{sys.executable} -m venv .venv")
        with self._stage("install"):
            self._call(f"pip install --quiet '{_TORCH}'")
            self._call("pip install --quiet '.[quickstart]'")
        with self._stage("quickstart"):
            self._call(shlex.join(["vtb", "quickstart", *quickstart]))
        with self._stage("five recordings in"):
            rows = self._bring()
            self._call("vtb data lint mine.jsonl --kind asr")
            self._call("vtb preview --config-dir=. --config-name=mine --kind=asr --count=1")
        with self._stage("train on them"):
            self._call(self._cell("vtb train").replace("$STEPS", str(steps)))
        spoken = [f"Transcribe the audio. @{row['audio_filepath']}" for row in rows]
        with self._stage("ask"):
            answers = self._answers([line for one in spoken for line in (one, "/reset")] + [_WRITTEN, "/quit"])
        said = [row["text"] for row in rows] + [None]
        asked = [
            {"asked": ask, "said": words, "answered": answer}
            for ask, words, answer in zip([*spoken, _WRITTEN], said, answers, strict=True)
        ]
        total = {unit: round(sum(stage[unit] for stage in self.stages), 1) for unit in ("wall_s", "cpu_s")}
        return {
            "stages": self.stages,
            "total": total,
            "steps": steps,
            "asked": asked,
            "environment": self._environment() | {"load_average": os.getloadavg()[0]},
        }

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        stage: dict[str, Any] = {"name": name, "commands": []}
        self.stages.append(stage)
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        yield
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        stage["wall_s"] = round(time.perf_counter() - began, 1)
        stage["cpu_s"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)
        print(json.dumps(stage), flush=True)

    def _call(self, command: str, **more: Any) -> str:
        """What a command of a shell prints; it is shown if it fails."""
        self.stages[-1]["commands"].append(command.replace(sys.executable, "python3"))
        done = subprocess.run(
            ["bash", "-c", command], cwd=self.checkout, env=self._env, text=True, capture_output=True, **more
        )
        if done.returncode:
            sys.exit(f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}\nended with code {done.returncode}")
        return done.stdout

    def _cell(self, begins: str) -> str:
        """The cell of the notebook with a line that begins so, without its first line of magic."""
        notebook = json.loads((self.checkout / "tutorials" / "01_your_data.ipynb").read_text(encoding="utf-8"))
        cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        found = [cell for cell in cells if any(line.startswith(begins) for line in cell.splitlines()[1:])]
        if len(found) != 1:
            sys.exit(f"01_your_data.ipynb has {len(found)} cells with a line that begins with {begins!r}")
        return found[0].partition("\n")[2]

    def _bring(self) -> list[dict[str, Any]]:
        """Five recordings into ``my_clips``, rows that say what is said in them, the config that mixes them in."""
        prompts = self.checkout / "examples" / "corpora" / "asterisk_prompts"
        known = map(json.loads, (prompts / "manifest.jsonl").read_text(encoding="utf-8").splitlines())
        chosen = [row for row in known if row["lang"] == "en" and row["key"] in _CLIPS]
        clips = self.checkout / "my_clips"
        clips.mkdir()
        rows = []
        for row in chosen:
            copy = shutil.copy(prompts / row["audio_filepath"], clips)
            own = {"audio_filepath": str(Path(copy).relative_to(self.checkout)), "lang": "en"}
            rows.append(own | {"duration": row["duration"], "text": row["text"]})
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.checkout / "mine.jsonl").write_text(text, encoding="utf-8")
        (self.checkout / "mine.yaml").write_text(self._cell("defaults:"), encoding="utf-8")
        return rows

    def _answers(self, lines: list[str]) -> list[str]:
        printed = self._call("vtb chat runs/train/last.ckpt --max-tokens 32", input="\n".join(lines) + "\n")
        # Under an answer stands in brackets what it took.
        return re.findall(r"vtb> (.*?)\n {5}\(", printed, re.DOTALL)

    def _environment(self) -> dict[str, Any]:
        program = (
            "import json, sys; from nemo_vtb.reports.environment import environment; "
            "print(json.dumps(environment(sys.argv[1], seed=0)))"
        )
        command = f"python {' '.join(sys.argv)}"
        told = subprocess.check_output(["python", "-c", program, command], cwd=self._folder, env=self._env, text=True)
        return json.loads(told.splitlines()[-1])


if __name__ == "__main__":
    main()
