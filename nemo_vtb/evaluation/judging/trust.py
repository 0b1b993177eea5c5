"""How far a judge can be trusted: its verdicts against labels."""

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nemo_vtb.data.files.locations import locate
from nemo_vtb.data.files.rows import placed_rows
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.judging.judge import NoVerdict, Verdict, ruled
from nemo_vtb.evaluation.judging.prompts import Case, check_scores
from nemo_vtb.evaluation.scoring.bootstrap import Drawing, estimate, interval, means, shares
from nemo_vtb.evaluation.scoring.metrics import squad_exact

LABELS = "corpora:eval_sets/judge_labels.jsonl"
_TEXTS = ("id", "transcript", "question", "reference", "answer")


@dataclass(frozen=True)
class Label:
    """A case, and what an annotator said of it."""

    case: Case
    correct: int
    redundancy: int


def read_labels(path: str) -> list[Label]:
    """Reads JSONL rows: a case, with ``correct`` and ``redundancy`` as an annotator sees them.

    Raises:
        VTBError: If there is no such file, or with file and line on a row that is no label.
    """
    labels = []
    for where, row in placed_rows(path):
        if odd := [key for key in _TEXTS if not isinstance(row.get(key), str)]:
            raise VTBError(f"{where}: '{odd[0]}' is missing or no text")
        check_scores(row.get("correct"), row.get("redundancy"), where)
        labels.append(Label(Case(*(row[key] for key in _TEXTS)), row["correct"], row["redundancy"]))
    if not labels:
        raise VTBError(f"{locate(path)}: no labels")
    return labels


def agreement(labels: Sequence[Label], verdicts: Sequence[Verdict | NoVerdict], drawing: Drawing) -> dict[str, Any]:
    """Compares verdicts with labels.

    Args:
        labels: What is held to be right.
        verdicts: The judge's, in the same order.
        drawing: How the labelled set is drawn again for intervals.

    Returns:
        ``accuracy`` and Cohen's ``kappa`` of correctness, ``spearman`` and mean absolute error (``mae``) of redundancy,
        each with its interval; the same of the cases that the LLM itself decided under ``llm``; ``exact_match``, which
        is accuracy and kappa of SQuAD's exact match in the judge's place; ids of what was judged ``wrong`` and the
        reasons of what was ``not_judged``, which the numbers leave out; ``answers`` by how they were judged.
    """
    judged = [(label, verdict) for label, verdict in zip(labels, verdicts, strict=True) if isinstance(verdict, Verdict)]
    asked = [pair for pair in judged if ruled(pair[0].case) is None]
    exact = squad_exact([[label.case.reference] for label in labels], [label.case.answer for label in labels])
    return {
        **_scores(judged, drawing),
        "llm": _scores(asked, drawing),
        "exact_match": _correctness(
            [label.correct for label in labels], [int(right) for right in exact.items[:, 0]], drawing
        ),
        "wrong": [label.case.id for label, verdict in judged if label.correct != verdict.correct],
        "not_judged": {
            label.case.id: verdict.why
            for label, verdict in zip(labels, verdicts, strict=True)
            if isinstance(verdict, NoVerdict)
        },
        "answers": Counter("by " + verdict.by for _, verdict in judged),
    }


def _scores(judged: Sequence[tuple[Label, Verdict]], drawing: Drawing) -> dict[str, Any]:
    wanted = np.array([label.redundancy for label, _ in judged], dtype=float)
    given = np.array([verdict.redundancy for _, verdict in judged], dtype=float)
    right = [verdict.correct for _, verdict in judged]
    return {
        **_correctness([label.correct for label, _ in judged], right, drawing),
        "spearman": _drawn(spearman, wanted, given, drawing),
        "mae": estimate(means(np.abs(wanted - given)), drawing),
    }


def _correctness(labels: Sequence[int], verdicts: Sequence[int], drawing: Drawing) -> dict[str, Any]:
    wanted, given = np.asarray(labels, dtype=int), np.asarray(verdicts, dtype=int)
    return {
        "accuracy": estimate(shares(list(wanted == given)), drawing),
        "kappa": _drawn(kappa, wanted, given, drawing),
    }


def kappa(labels: np.ndarray, verdicts: np.ndarray) -> float:
    """Cohen's kappa: 1 is agreement, 0 what chance gives; NaN where both say one and the same of everything."""
    from sklearn.metrics import cohen_kappa_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(cohen_kappa_score(labels, verdicts, labels=[0, 1]))


def spearman(labels: np.ndarray, verdicts: np.ndarray) -> float:
    """Spearman's rank correlation; NaN where one of the two never changes."""
    from scipy.stats import spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(spearmanr(labels, verdicts).statistic)


def _drawn(
    score: Callable[[np.ndarray, np.ndarray], float], labels: np.ndarray, verdicts: np.ndarray, drawing: Drawing
) -> dict[str, Any]:
    """A score that is no ratio of sums, with its interval; sets for which it is not defined are left out of that."""
    count = len(labels)
    if not count:
        return estimate(shares([]), drawing)
    places = np.arange(count)
    drawn: list[np.ndarray] = [np.repeat(places, times.astype(int)) for times in drawing.weights(count)]
    values = np.array([score(labels[rows], verdicts[rows]) for rows in drawn])
    low, high = interval(values) if np.isfinite(values).any() else (np.nan, np.nan)
    return {"value": score(labels, verdicts), "low": low, "high": high, "n": count}
