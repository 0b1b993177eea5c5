"""Measuring a model on the held-out questions, the same way before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.evaluation.answers import Task, answer_tasks
from nemo_vtb.evaluation.scoring.metrics import exact_match, word_error_rate
from nemo_vtb.evaluation.sets.held_out import text_task
from nemo_vtb.evaluation.sets.instructions import follows
from nemo_vtb.quickstart.tasks import HUMAN

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

_SUITE_TOKENS = 24


@dataclass(frozen=True)
class Measured:
    """Answers in the order of the tasks, and which suite items were answered well."""

    answers: list[str]
    suite: list[bool]


def measure(
    model: "VoiceTextBlender",
    dataset: VTBDataset,
    tasks: Sequence[Task],
    suite: Sequence[dict[str, Any]],
    label: str,
    max_new_tokens: int = 24,
) -> Measured:
    """Answers everything greedily."""
    answers = answer_tasks(model, dataset, tasks, max_new_tokens, label=f"{label}: speech")
    prompts = [text_task(item) for item in suite]
    replies = answer_tasks(model, dataset, prompts, _SUITE_TOKENS, label=f"{label}: text")
    return Measured(answers, [follows(reply, item["check"]) for reply, item in zip(replies, suite, strict=True)])


def speech_results(tasks: Sequence[Task], before: Sequence[str], after: Sequence[str]) -> dict[str, Any]:
    """Word error rates and accuracies of both sets of answers, with the keys of ``report.json``.

    ``wer`` is that of the first recognition group; the others stand under their names in it, people's by language. So
    do the groups of questions and of partly spoken turns.
    """
    first, *others = dict.fromkeys(task.group for task in tasks if task.kind == "asr")
    results: dict[str, Any] = {"wer": _wer(tasks, before, after, first)}
    results["wer"]["by_language"] = {
        group.removeprefix(HUMAN): _wer(tasks, before, after, group)
        for group in (first, *others)
        if group.startswith(HUMAN)
    }
    for group in others:
        if not group.startswith(HUMAN):
            results["wer"][group] = _wer(tasks, before, after, group)
    for kind in ("sqa", "mixed"):
        groups = list(dict.fromkeys(task.group for task in tasks if task.kind == kind)) or [""]
        rows = [_exact(kind, tasks, before, after, group) for group in groups]
        results[kind] = {**rows[0], **dict(zip(groups[1:], rows[1:], strict=True))}
    return results


def _exact(
    kind: str, tasks: Sequence[Task], before: Sequence[str], after: Sequence[str], group: str
) -> dict[str, float]:
    picked = [i for i, task in enumerate(tasks) if (task.kind, task.group) == (kind, group)]
    was, now = (_accuracy(kind, tasks, answers, picked) for answers in (before, after))
    return {"before": was, "after": now, "n": len(picked)}


def correct(task: Task, answer: str) -> bool:
    """Whether an answer equals its reference; case and punctuation count in mixed turns, which ask for them."""
    return exact_match([task.reference], [answer], verbatim=task.kind == "mixed")[0]


def _accuracy(kind: str, tasks: Sequence[Task], answers: Sequence[str], picked: Sequence[int]) -> float:
    return sum(correct(tasks[i], answers[i]) for i in picked) / max(1, len(picked))


def _wer(tasks: Sequence[Task], before: Sequence[str], after: Sequence[str], group: str) -> dict[str, Any]:
    picked = [i for i, task in enumerate(tasks) if task.group == group]
    references = [tasks[i].reference for i in picked]
    return {
        "before": word_error_rate(references, [before[i] for i in picked]),
        "after": word_error_rate(references, [after[i] for i in picked]),
        "n": len(picked),
    }
