"""Running a study: what is finished is skipped; a kill costs a few steps of the run it hits, or one set's answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

from nemo_vtb.errors import VTBError
from nemo_vtb.paths import require_writable
from nemo_vtb.study.design.fit import forget
from nemo_vtb.study.design.so_far import forget_answers
from nemo_vtb.study.plan import Run, Study
from nemo_vtb.study.settings import differing, settled, untouched_settings
from nemo_vtb.study.worker import CHECKPOINT, UNTOUCHED, UNTOUCHED_SETTINGS
from nemo_vtb.whole_files import write_text


def check_runs(study: Study) -> None:
    """Refuses, in this process and before the first run, what would stop one of them.

    Raises:
        VTBError: On a folder that cannot be written, a training config that no run can have, or a set that cannot be
            read.
    """
    from omegaconf import OmegaConf

    from nemo_vtb.study.measure import check_questions
    from nemo_vtb.training import check_config

    first = {run.arm: run for run in reversed(study.runs)}
    for run in first.values():
        check_config(OmegaConf.create(dict(run.settings["training"])))
    asked = study.runs[0].settings
    check_questions(asked["training"], asked["measure"])
    require_writable(study.out, "out")


def check_made(study: Study, compared: bool = False) -> None:
    """Refuses a folder with runs of other settings, or with answers of another LLM or to other questions.

    Args:
        study: Whose folder.
        compared: Whether nothing is run any more. Then the data need not be there, as long as all runs had the same.

    Raises:
        VTBError: Names the setting.
    """
    compared = compared or all(run.done for run in study.runs)
    had: dict[str, tuple[str, str]] = {}
    for run in study.runs:
        # Before it is trained, a run may still become another.
        if not (run.folder / "train.json").exists():
            continue
        made = run.folder / "settings.json"
        if how := differing(made, run.settings, compared):
            raise VTBError(f"{study.out} holds {run.name}, made {how}, or name another folder with out=FOLDER")
        _check_one_data(had, made, run.name)
    answers, settings = study.out / UNTOUCHED, study.out / UNTOUCHED_SETTINGS
    if not answers.exists():
        return
    first = study.runs[0].settings
    asked = untouched_settings(first["training"], first["measure"])
    without = f"without {settings.name}: restore that file"
    if how := differing(settings, asked, compared) if settings.exists() else without:
        raise VTBError(f"{answers} was made {how}, or remove it, and the untouched LLM is asked again")
    _check_one_data(had, settings, answers.name)


def _check_one_data(had: dict[str, tuple[str, str]], settings: Path, name: str) -> None:
    """Refuses what was made with a file of other contents than the runs in ``had``, and joins these."""
    for file, digest in json.loads(settings.read_text(encoding="utf-8"))["files"].items():
        before, other = had.setdefault(file, (digest, name))
        if digest != before:
            raise VTBError(f"{settings}: {name} and {other} were made with {file} of different contents")


def run_study(study: Study) -> bool:
    """Trains and measures the missing runs of a part.

    Returns:
        Whether all runs of all parts are there now.

    Raises:
        VTBError: See ``check_made``; or if a set cannot be read, or a run failed; finished runs stay.
    """
    check_made(study)
    os.nice(study.nice)
    for run in study.mine:
        if run.weights is not None and not (run.weights / "train.json").exists():
            print(f"{run.name} waits for the weights of {run.weights}: start the same line again", flush=True)
        elif not run.done:
            _run(study, run)
            done = sum(other.done for other in study.runs)
            print(f"[{done} of {len(study.runs)}] {_said(run)}", flush=True)
    return all(run.done for run in study.runs)


def _run(study: Study, run: Run) -> None:
    """Trains and measures in a process of its own, which ends when this one does."""
    run.folder.mkdir(parents=True, exist_ok=True)
    others = (other.folder / "settings.json" for other in study.runs if (other.folder / "train.json").exists())
    made = settled(run.settings, others)
    if (run.folder / "settings.json").exists() and differing(run.folder / "settings.json", made):
        forget(run.folder)
        forget_answers(run.folder)
    write_text(run.folder / "settings.json", json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    weights = [str(run.weights)] if run.weights else []
    command = [sys.executable, "-m", "nemo_vtb.study.worker", str(run.folder)]
    command += [str(study.threads), str(study.resume_every), *weights]
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


def _said(run: Run) -> str:
    seconds = json.loads((run.folder / "arm.json").read_text(encoding="utf-8"))["seconds"]
    return f"{run.name}: trained in {seconds['train'] / 60:.1f} min, measured in {seconds['measure'] / 60:.1f} min"
