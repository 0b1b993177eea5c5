"""``vtb judge``: how far a judge LLM agrees with labelled answers."""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.cli.arguments import add_config_arguments, command_line
from nemo_vtb.errors import VTBError
from nemo_vtb.options import Draws, Seed, Threads, read_options
from nemo_vtb.paths import require_writable

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass
class JudgeOptions:
    """The config of ``vtb judge``; see ``conf/eval/judge.yaml``.

    Attributes:
        out: Folder of ``judge.json`` and ``verdicts.jsonl``.
        seed: Of the bootstrap.
        threads: Of the processor; ``auto``: all cores that this process may use.
        bootstrap: Sets drawn for each interval.
        prompt_file: One of ``conf/eval/prompts``, or a path.
        labels: Labelled answers that the judge is held against.
        llm: The judge.
    """

    out: str
    seed: Seed
    threads: Threads | None
    bootstrap: Draws
    prompt_file: str
    labels: str
    llm: dict[str, Any]


_MEASURES = {
    "accuracy": ("correctness: right, %", "percent"),
    "kappa": ("correctness: Cohen's kappa", "plain"),
    "spearman": ("redundancy: Spearman's rank correlation", "plain"),
    "mae": ("redundancy: mean absolute error", "plain"),
}
_COLUMNS = {"": "all", "llm": "without what code decides", "exact_match": "exact match as the judge"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb judge``."""
    add_config_arguments(parser, "eval/judge", "who judges what")


def run(args: argparse.Namespace) -> int:
    """Measures, writes ``judge.json`` and ``verdicts.jsonl``, and prints the agreement."""
    from nemo_vtb.config import compose

    report = judge_labels(compose(args.config_name, args.overrides, args.config_dir), command_line())
    print("\n".join(agreement_lines(report)))
    return 0


def judge_labels(cfg: "DictConfig", command: str) -> dict[str, Any]:
    """Lets a judge judge labelled answers.

    Args:
        cfg: See ``conf/eval/judge.yaml``.
        command: How this was called, for the report.

    Returns:
        What ``judge.json`` holds: the judge, the labels and ``agreement``; see ``evaluation.judging.trust.agreement``.

    Raises:
        VTBError: On a key, prompt, label or LLM that cannot be used.
    """
    settings = _checked(cfg)
    began = time.monotonic()
    from nemo_vtb.evaluation.judging.judge import open_judge
    from nemo_vtb.evaluation.judging.trust import agreement, read_labels
    from nemo_vtb.evaluation.scoring.bootstrap import Drawing
    from nemo_vtb.models.for_machine import use_threads
    from nemo_vtb.reports.environment import environment
    from nemo_vtb.reports.write import write_json

    used = {"threads": use_threads(settings["threads"])}
    labels = read_labels(settings["labels"])
    judge = open_judge(settings["prompt_file"], settings["llm"])
    folder = Path(settings["out"])
    require_writable(folder, "out")
    verdicts = judge.verdicts([label.case for label in labels])
    report = {
        "seconds": round(time.monotonic() - began, 1),
        **judge.about(),
        "labels": {"path": settings["labels"], "n": len(labels)},
        "agreement": agreement(labels, verdicts, Drawing(settings["bootstrap"], settings["seed"])),
        "environment": environment(command, settings["seed"], used),
    }
    write_json(report, folder, "judge")
    rows = [
        {"id": label.case.id, "label": {"correct": label.correct, "redundancy": label.redundancy}, **asdict(verdict)}
        for label, verdict in zip(labels, verdicts, strict=True)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "verdicts.jsonl").write_text(lines, encoding="utf-8")
    return report


def agreement_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yields what ``vtb judge`` prints: agreement with 95 % intervals, and the ids of what was judged wrongly."""
    from nemo_vtb.reports.figures import in_columns
    from nemo_vtb.reports.score_table import scored

    found = report["agreement"]
    rows = [["", *_COLUMNS.values()]] + [
        [words, *(scored(_column(found, column).get(measure, {}), unit) for column in _COLUMNS)]
        for measure, (words, unit) in _MEASURES.items()
    ]
    yield f"{report['llm']['model']}, prompt {report['prompt']['version']}, {report['labels']['n']} labelled answers"
    yield from in_columns(rows)
    yield f"judged: {', '.join(f'{count} {by}' for by, count in found['answers'].items()) or 'none'}"
    yield f"judged wrongly: {', '.join(found['wrong']) or 'none'}"
    for name, why in found["not_judged"].items():
        yield f"not judged: {name}: {why}"


def _column(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return found[name] if name else found


def _checked(cfg: "DictConfig") -> dict[str, Any]:
    from omegaconf import OmegaConf

    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise VTBError(f"vtb judge: say {', '.join(f'{key}=...' for key in missing)}")
    return asdict(read_options(JudgeOptions, cfg))
