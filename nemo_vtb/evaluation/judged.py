"""Judged answers in ``vtb eval``: the section ``eval.judge`` of its config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.ask import SIDES, Answers
from nemo_vtb.evaluation.items import Item
from nemo_vtb.evaluation.judging.judge import Judge, NoVerdict, Verdict, open_judge
from nemo_vtb.evaluation.judging.prompts import Case
from nemo_vtb.evaluation.judging.trust import LABELS, agreement, read_labels
from nemo_vtb.evaluation.scoring.bootstrap import Drawing
from nemo_vtb.evaluation.sets.plan import Plan, Questions


@dataclass(frozen=True)
class JudgeOptions:
    """The section.

    Attributes:
        llm: As ``nemo_vtb.inference.llms.choose`` reads it.
        prompt_file: One of ``conf/eval/prompts``, or a path.
        labels: Labelled answers that it is held against.
        sets: Which sets of kind sqa, or of public benchmarks that no rule scores; None for all of them.
    """

    llm: Mapping[str, Any]
    prompt_file: str = "spoken_qa"
    labels: str = LABELS
    sets: Sequence[str] | None = None


class AnswerJudge:
    """Judges both sides' answers to some sets; see ``open_answer_judge``."""

    def __init__(self, judge: Judge, sets: Sequence[str], trust: Mapping[str, Any]) -> None:
        self._judge, self._sets, self._trust = judge, sets, trust

    def judged(self, plan: Plan, answers: Answers) -> Answers:
        """Returns the answers with verdicts on those of its sets."""
        verdicts: dict[str, list[list[Verdict | NoVerdict | None]]] = {
            side: [[None] * len(part.tasks) for part in plan.questions] for side in SIDES
        }
        places = [
            (side, number, row)
            for side in SIDES
            for number, part in enumerate(plan.questions)
            if part.name in self._sets
            for row in range(len(part.tasks))
        ]
        cases = [
            case_of(plan.questions[number], row, answers.questions[side][number][row]) for side, number, row in places
        ]
        for (side, number, row), verdict in zip(places, self._judge.verdicts(cases), strict=True):
            verdicts[side][number][row] = verdict
        return replace(answers, verdicts=verdicts)

    def section(self, items: Sequence[Item]) -> dict[str, Any]:
        """What ``eval.json`` says of the judge: who it is, how far it agrees with labels, what it could not judge."""
        found = [(item, side, item.verdicts[side]) for side in SIDES for item in items if side in item.verdicts]
        by_rule = {
            side: sum(isinstance(verdict, Verdict) and verdict.by == "rule" for _, of, verdict in found if of == side)
            for side in SIDES
        }
        return {
            **self._judge.about(),
            "sets": list(self._sets),
            "by_rule": by_rule,
            "not_judged": [
                {"set": item.asked.name, "id": item.id, "side": side, "why": verdict.why}
                for item, side, verdict in found
                if isinstance(verdict, NoVerdict)
            ],
            "agreement": self._trust,
        }


def open_answer_judge(section: Any, plan: Plan, drawing: Drawing) -> AnswerJudge:
    """Opens the judge and sees how far it agrees with the labels, before anything else is asked.

    Args:
        section: ``eval.judge``.
        plan: What is asked.
        drawing: How the labelled set is drawn again.

    Raises:
        VTBError: On a key, set, prompt, label or LLM that cannot be used.
    """
    options = _options(section)
    known = {part.name: part for part in plan.questions if _can_be_judged(part)}
    sets = list(known) if options.sets is None else list(options.sets)
    if not sets or (unknown := [name for name in sets if name not in known]):
        wrong = f"{unknown[0]!r} is none of" if sets else "there are none among"
        raise VTBError(
            f"eval.judge.sets: {wrong} the sets of kind sqa, or without a rule of their own, under eval.sets: "
            f"{', '.join(known) or 'none'}"
        )
    for name in sets:
        for row, task in enumerate(known[name].tasks if known[name].kind == "sqa" else ()):
            if not case_of(known[name], row, "").transcript:
                raise VTBError(
                    f"eval.sets.{name}: {task.conversation.id} has a clip without transcript (text), "
                    "which the judge needs to see copies"
                )
    labels = read_labels(options.labels)
    judge = open_judge(options.prompt_file, options.llm)
    verdicts = judge.verdicts([label.case for label in labels])
    return AnswerJudge(judge, sets, agreement(labels, verdicts, drawing))


def _can_be_judged(part: Questions) -> bool:
    without_rule = part.kind == "public" and not any(task.conversation.custom.get("rule") for task in part.tasks)
    return not part.probe and (part.kind == "sqa" or without_rule)


def case_of(part: Questions, row: int, answer: str) -> Case:
    """A prompt's last question with all that was heard so far; of several rounds, what was answered in them too."""
    conversation = part.tasks[row].conversation
    heard: list[str] = []
    rounds = part.kind == "public" and sum(turn.role == "assistant" for turn in conversation.turns) > 1
    asked: list[str] = []
    for turn in conversation.turns[:-1]:
        if hasattr(turn, "cut"):
            heard.append(turn.text or "")
        elif turn.role == "user":
            asked.append(turn.value)
        else:
            heard += [*asked, f"[answered: {turn.value}]"] if rounds else []
            asked = []
    known = conversation.custom.get("row") or {}
    references = conversation.custom.get("answers") or known.get("answers") or [part.tasks[row].reference]
    transcript = " ".join(heard) if all(heard) else ""
    return Case(conversation.id, transcript, " ".join(asked), " or ".join(references), answer, tuple(references))


def _options(section: Any) -> JudgeOptions:
    if not isinstance(section, Mapping):
        raise VTBError(f"eval.judge is {section!r}; it is a section with llm, as in conf/eval/judge.yaml")
    check_keys(section, [field.name for field in fields(JudgeOptions)], "eval.judge")
    if not isinstance(section.get("llm"), Mapping):
        raise VTBError("eval.judge.llm: say at least eval.judge.llm.model, as in conf/eval/judge.yaml")
    for key in ("prompt_file", "labels"):
        if not isinstance(section.get(key, ""), str):
            raise VTBError(f"eval.judge.{key} is {section[key]!r}; it is the name or path of a file")
    sets = section.get("sets")
    if sets is not None and (isinstance(sets, str) or not all(isinstance(name, str) for name in sets)):
        raise VTBError(f"eval.judge.sets is {sets!r}; it is a list of names, or null for all that may be")
    return JudgeOptions(**section)
