"""What a finished study says: scores of all arms, claims with their verdicts, and the files for people."""

import json
import shlex
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
        study: All of its runs are there.
        command: How this was called, for the report.

    Returns:
        What ``study.json`` holds: ``arms`` by name with their ``scores`` by measure, the ``untouched`` LLM's, as
        ``chance`` what always giving the commonest answer scores, the sets that are ``apart`` from the totals,
        ``claims`` with verdict and evidence, and ``environment``.

    Raises:
        VTBError: If a file of the study is missing or does not fit the others, or matplotlib is not installed.
    """
    from nemo_vtb.evaluation.scoring.bootstrap import Drawing
    from nemo_vtb.pages.study import render_study_page
    from nemo_vtb.pages.study_charts import write_picture
    from nemo_vtb.reports.environment import environment
    from nemo_vtb.reports.write import write_both
    from nemo_vtb.study.claims import judge
    from nemo_vtb.study.evidence import Facts
    from nemo_vtb.study.scores import UNTOUCHED, chance_of, same_replies, scores_of
    from nemo_vtb.study.table import NOTE, cells, markdown
    from nemo_vtb.synthesis.jobs.shard import write_text

    answers = {arm: [_rows(run.folder / "answers.jsonl") for run in _seeds(study, arm)] for arm in study.arms}
    untouched = _rows(study.out / UNTOUCHED_FILE)
    drawing = Drawing(study.measure["eval"].get("bootstrap", 1000), study.measure.get("seed", 0))
    apart = study.measure.get("apart", [])
    # Arms that ask the same seeds of the same weights are compared seed by seed.
    weights = {name: f"{arm.weights_of or name}: {list(arm.seeds)}" for name, arm in study.arms.items()}
    scores = scores_of({**answers, UNTOUCHED: [untouched]}, drawing, apart, weights)
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
        "claims": [asdict(judge(claim, facts)) for claim in study.claims],
        "environment": environment(command, study.measure.get("seed", 0)),
    }
    write_picture(report, study.out / "study.png")
    write_both(report, study.out, lambda text: render_study_page(report, cells(report), NOTE, text), "study")
    write_text(study.out / "study.md", markdown(report))
    return report


def _seeds(study: Study, arm: str) -> list[Run]:
    return [run for run in study.runs if run.arm == arm]


def _about(study: Study, arm: str) -> dict[str, Any]:
    runs = _seeds(study, arm)
    trained = [json.loads((run.folder / "train.json").read_text(encoding="utf-8")) for run in runs]
    seconds = [json.loads((run.folder / "arm.json").read_text(encoding="utf-8"))["seconds"] for run in runs]

    def total(one: dict[str, Any], unit: str) -> float:
        return sum(count[unit] for count in one["blend"].values())

    return {
        "title": study.arms[arm].title,
        "text_share": study.arms[arm].text_share,
        "plain": not (study.arms[arm].overrides or study.arms[arm].weights_of or study.arms[arm].asked_with),
        "seeds": [run.seed for run in runs],
        "minutes": {step: mean(one[step] for one in seconds) / 60 for step in ("train", "measure")},
        "steps": trained[0]["steps"],
        "positions_per_step": mean(total(one, "total_tokens") / one["steps"] for one in trained),
        "audio_minutes": mean(total(one, "audio_seconds") for one in trained) / 60,
        "realised_text_share": mean(one["realised_share"].get("text", 0.0) for one in trained),
        "trainable": trained[0]["trainable"],
        "command": shlex.join(["vtb", "train", f"--config-name={study.train}", *runs[0].overrides]),
    }


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        raise VTBError(f"{path} is missing: remove an arm.json (the one beside it) and start the study again")
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
