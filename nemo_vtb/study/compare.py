"""What a finished study says: scores of all arms, claims with their verdicts, and the files for people."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.study.plan import Run, Study
from nemo_vtb.study.worker import UNTOUCHED as UNTOUCHED_FILE


def compare(study: Study, command: str) -> dict[str, Any]:
    """Writes ``study.json``, ``study.html``, ``study.md`` and ``study.png`` into the study's folder.

    Args:
        study: Of its runs, those that are finished are compared.
        command: How this was called, for the report.

    Returns:
        What ``study.json`` holds: ``arms`` by name with their ``scores`` by measure, the ``untouched`` LLM's, as
        ``chance`` what always giving the commonest answer scores, the sets that are ``apart`` from the totals,
        ``claims`` with verdict and evidence, how many ``runs`` are ``done`` of those ``planned``, and ``environment``.

    Raises:
        VTBError: If nothing is finished, a file is missing or does not fit the others, or matplotlib is not installed.
    """
    from nemo_vtb.evaluation.scoring.bootstrap import Drawing
    from nemo_vtb.pages.study import render_study_page
    from nemo_vtb.pages.study_charts import write_picture
    from nemo_vtb.reports.environment import environment
    from nemo_vtb.reports.write import write_both
    from nemo_vtb.study.claims import judge
    from nemo_vtb.study.evidence import Facts
    from nemo_vtb.study.scores import UNTOUCHED, chance_of, same_replies, scores_of
    from nemo_vtb.study.table import cells, markdown, note
    from nemo_vtb.whole_files import write_text

    planned, study = len(study.runs), study.finished()
    answers, untouched = answers_of(study)
    drawing = Drawing(study.measure["eval"].get("bootstrap", 1000), study.measure.get("seed", 0))
    apart = study.measure.get("apart", [])
    scores = scores_of({**answers, UNTOUCHED: [untouched]}, drawing, apart, *weights_of(study))
    replies = {}
    for arm, seeds in answers.items():
        found = [same_replies(rows, untouched) for rows in seeds]
        replies[arm] = (sum(same for same, _ in found), sum(count for _, count in found))
    chance = chance_of(next(iter(answers.values()))[0])
    facts = Facts(scores, {name: arm.title for name, arm in study.arms.items()}, chance, replies)
    written = {arm: {name: score.to_dict() for name, score in found.items()} for arm, found in scores.items()}
    report = {
        "arms": {arm: {**_about(study, arm), "scores": written[arm]} for arm in study.arms},
        "untouched": {"scores": written[UNTOUCHED]},
        "chance": chance,
        "apart": apart,
        "on_the_way": _on_the_way(study, untouched, drawing, apart),
        "claims": [asdict(judge(claim, facts)) for claim in study.claims],
        "runs": {"done": len(study.runs), "planned": planned},
        "environment": environment(command, study.measure.get("seed", 0)),
    }
    write_picture(report, study.out / "study.png")
    write_both(report, study.out, lambda text: render_study_page(report, cells(report), note(report), text), "study")
    write_text(study.out / "study.md", markdown(report))
    return report


def answers_of(study: Study) -> tuple[dict[str, list[list[dict[str, Any]]]], list[dict[str, Any]]]:
    """Rows by arm and seed of a study that is finished, and the untouched LLM's.

    Raises:
        VTBError: If a file of theirs is missing.
    """
    answers = {arm: [_rows(run.folder / "answers.jsonl") for run in _seeds(study, arm)] for arm in study.arms}
    return answers, _rows(study.out / UNTOUCHED_FILE)


def weights_of(study: Study) -> tuple[dict[str, str], dict[str, Sequence[int]]]:
    """By arm whose weights it asks and with which seeds: of the same weights, seeds are compared one by one."""
    return (
        {name: arm.weights_of or name for name, arm in study.arms.items()},
        {name: arm.seeds for name, arm in study.arms.items()},
    )


def _on_the_way(study: Study, untouched: Any, drawing: Any, apart: Any) -> dict[str, dict[str, Any]]:
    """Scores by percent of the way, arm and measure, of the arms that are trained."""
    from nemo_vtb.study.design.way import answers_file, marks
    from nemo_vtb.study.scores import UNTOUCHED, scores_of

    found = {}
    trained = [name for name, arm in study.arms.items() if arm.weights_of is None]
    for percent in marks(study.measure.get("way")):
        answers = {arm: [_rows(answers_file(run.folder, percent)) for run in _seeds(study, arm)] for arm in trained}
        asked = {row["set"] for rows in answers.values() for seed in rows for row in seed}
        base = [row for row in untouched if row["set"] in asked]
        scores = scores_of({**answers, UNTOUCHED: [base]}, drawing, apart)
        found[str(percent)] = {arm: {name: score.to_dict() for name, score in scores[arm].items()} for arm in trained}
    return found


def _seeds(study: Study, arm: str) -> list[Run]:
    return [run for run in study.runs if run.arm == arm]


def _about(study: Study, arm: str) -> dict[str, Any]:
    runs = _seeds(study, arm)
    trained = [json.loads((run.folder / "train.json").read_text(encoding="utf-8")) for run in runs]
    finished = [json.loads((run.folder / "arm.json").read_text(encoding="utf-8")) for run in runs]
    seconds = [one["seconds"] for one in finished]

    def total(one: dict[str, Any], unit: str) -> float:
        return sum(count[unit] for count in one["blend"].values())

    return {
        "title": study.arms[arm].title,
        "text_share": study.arms[arm].text_share,
        "plain": not (study.arms[arm].overrides or study.arms[arm].weights_of or study.arms[arm].asked_with),
        "seeds": [run.seed for run in runs],
        "minutes": {step: mean(one[step] for one in seconds) / 60 for step in ("train", "measure")},
        **_core_hours(finished),
        "steps": trained[0]["steps"],
        "positions_per_step": mean(total(one, "total_tokens") / one["steps"] for one in trained),
        "audio_minutes": mean(total(one, "audio_seconds") for one in trained) / 60,
        "realised_text_share": mean(one["realised_share"].get("text", 0.0) for one in trained),
        "trainable": trained[0]["trainable"],
        "command": shlex.join(["vtb", "train", f"--config-name={study.train}", *runs[0].overrides]),
    }


def _core_hours(finished: list[dict[str, Any]]) -> dict[str, float]:
    """Of a run, where it was counted."""
    counted = [sum(one["cpu_seconds"].values()) for one in finished if "cpu_seconds" in one]
    return {"core_hours": mean(counted) / 3600} if counted else {}


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        raise VTBError(f"{path} is missing: remove an arm.json (the one beside it) and start the study again")
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
