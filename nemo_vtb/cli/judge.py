"""``vtb judge``: how far a judge LLM agrees with labelled answers."""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from omegaconf import DictConfig

_KEYS = ("out", "seed", "threads", "bootstrap", "prompt_file", "labels", "llm")
_MEASURES = {
    "accuracy": ("correctness: right, %", "percent"),
    "kappa": ("correctness: Cohen's kappa", "plain"),
    "spearman": ("redundancy: Spearman's rank correlation", "plain"),
    "mae": ("redundancy: mean absolute error", "plain"),
}
_COLUMNS = {"": "all", "llm": "without what code decides", "exact_match": "exact match as the judge"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``vtb judge``."""
    parser.add_argument("--config-name", default="eval/judge", help="who judges what (default: eval/judge)")
    parser.add_argument("--config-dir", help="your own folder of configs; the shipped groups stay available")


def run(args: argparse.Namespace) -> int:
    """Measures, writes ``judge.json`` and ``verdicts.jsonl``, and prints the agreement."""
    from nemo_vtb.config import compose

    report = judge_labels(compose(args.config_name, args.overrides, args.config_dir), f"vtb {shlex.join(sys.argv[1:])}")
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
    import torch

    from nemo_vtb.evaluation.judging.judge import open_judge
    from nemo_vtb.evaluation.judging.trust import agreement, read_labels
    from nemo_vtb.evaluation.scoring.bootstrap import Drawing
    from nemo_vtb.reports.environment import environment
    from nemo_vtb.reports.write import write_json

    if settings["threads"]:
        torch.set_num_threads(settings["threads"])
    labels = read_labels(settings["labels"])
    judge = open_judge(settings["prompt_file"], settings["llm"])
    verdicts = judge.verdicts([label.case for label in labels])
    report = {
        "seconds": round(time.monotonic() - began, 1),
        **judge.about(),
        "labels": {"path": settings["labels"], "n": len(labels)},
        "agreement": agreement(labels, verdicts, Drawing(settings["bootstrap"], settings["seed"])),
        "environment": environment(command, settings["seed"]),
    }
    folder = Path(settings["out"])
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
    from nemo_vtb.reports.score_table import scored

    found = report["agreement"]
    rows = [["", *_COLUMNS.values()]] + [
        [words, *(scored(_column(found, column).get(measure, {}), unit) for column in _COLUMNS)]
        for measure, (words, unit) in _MEASURES.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield f"{report['llm']['model']}, prompt {report['prompt']['version']}, {report['labels']['n']} labelled answers"
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield f"judged: {', '.join(f'{count} {by}' for by, count in found['answers'].items()) or 'none'}"
    yield f"judged wrongly: {', '.join(found['wrong']) or 'none'}"
    for name, why in found["not_judged"].items():
        yield f"not judged: {name}: {why}"


def _column(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return found[name] if name else found


def _checked(cfg: "DictConfig") -> dict[str, Any]:
    from omegaconf import OmegaConf

    check_keys(cfg, _KEYS, "config")
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise VTBError(f"vtb judge: say {', '.join(f'{key}=...' for key in missing)}")
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    for key, least in {"seed": 0, "bootstrap": 1, "threads": 0}.items():
        value = settings.get(key)
        if type(value) is not int or value < least:
            raise VTBError(f"{key}={value}: a whole number of at least {least}")
    for key in ("out", "prompt_file", "labels"):
        if not isinstance(settings.get(key), str):
            raise VTBError(f"{key}={settings.get(key)}: the name or path of a file or folder")
    if not isinstance(settings.get("llm"), dict):
        raise VTBError("llm is missing: say llm.model=..., as in conf/eval/judge.yaml")
    return settings
