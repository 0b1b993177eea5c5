"""Running a study: what is finished is skipped, and a kill at any moment costs the arm that was running at most."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.study.plan import Run, Study
from nemo_vtb.study.worker import CHECKPOINT
from nemo_vtb.synthesis.shard import write_text

# Keys of the training config that decide where things are kept, not what is learnt.
_PLACES = ("training.model.encoder_cache",)


def run_study(study: Study) -> bool:
    """Trains and measures the missing runs of a part.

    Returns:
        Whether all runs of all parts are there now.

    Raises:
        VTBError: If the folder holds runs of other settings, or a run failed; finished runs stay.
    """
    for run in study.runs:
        _agree(study, run)
    for run in study.mine:
        if not run.done:
            _run(study, run)
            done = sum(other.done for other in study.runs)
            print(f"[{done} of {len(study.runs)}] {_said(run)}", flush=True)
    return all(run.done for run in study.runs)


def _run(study: Study, run: Run) -> None:
    """Trains and measures in a process of its own, which ends when this one does."""
    run.folder.mkdir(parents=True, exist_ok=True)
    write_text(run.folder / "settings.json", json.dumps(run.settings, indent=1, ensure_ascii=False) + "\n")
    command = [sys.executable, "-m", "nemo_vtb.study.worker", str(run.folder), str(study.threads)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(study.threads)}
    print(f"{run.name}: {study.arms[run.arm].title}", flush=True)
    # The other end of the pipe closes when this process ends, however it ends.
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment) as process:
        code = process.wait()
    if code:
        said = f"was ended by signal {-code} (out of memory?)" if code < 0 else "failed; why stands above"
        raise VTBError(f"{run.name} {said}. Finished runs are kept: the same command goes on from here")
    if not study.keep_checkpoints:
        (run.folder / CHECKPOINT).unlink(missing_ok=True)


def _agree(study: Study, run: Run) -> None:
    path = run.folder / "settings.json"
    if not path.exists():
        return
    there, now = _flat(json.loads(path.read_text(encoding="utf-8"))), _flat(json.loads(json.dumps(run.settings)))
    if not run.done and not (run.folder / "train.json").exists():
        return
    for key in {**there, **now}:
        if there.get(key) == now.get(key) or key.startswith(_PLACES):
            continue
        if key.startswith("files."):
            what = f"with another {key.removeprefix('files.')} than is there now: restore the file"
        else:
            what = f"with {key}={there.get(key)!r}, and now it is {now.get(key)!r}: take the old value"
        raise VTBError(f"{study.out} holds the arm {run.name} made {what}, or name another folder with out=FOLDER")


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping of dotted names."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping) or not value:
        return {name: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _flat(item, f"{name}.{key}" if name else str(key))
    return found


def _said(run: Run) -> str:
    seconds = json.loads((run.folder / "arm.json").read_text(encoding="utf-8"))["seconds"]
    return f"{run.name}: trained in {seconds['train'] / 60:.1f} min, measured in {seconds['measure'] / 60:.1f} min"
