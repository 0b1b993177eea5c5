"""Prompts with what both sides said, and the scores their kind has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nemo_vtb.data.row_forms.languages import base_language
from nemo_vtb.evaluation.answers import Task
from nemo_vtb.evaluation.ask import SIDES, Answers
from nemo_vtb.evaluation.judging.judge import NoVerdict, Verdict
from nemo_vtb.evaluation.public.rules import RULES
from nemo_vtb.evaluation.scoring.bootstrap import Sums, means, shares
from nemo_vtb.evaluation.scoring.metrics import character_errors, normaliser_name, squad_exact, squad_f1, word_errors
from nemo_vtb.evaluation.scoring.translation import translation_scores
from nemo_vtb.evaluation.sets.instructions import follows
from nemo_vtb.evaluation.sets.plan import Plan, Questions, check_of


@dataclass(frozen=True)
class Item:
    """One prompt of one exchange.

    Attributes:
        asked: The set it belongs to.
        task: The prompt.
        said: The answers by side.
        verdicts: A judge's on them by side; empty where nobody judged.
    """

    asked: Questions
    task: Task
    said: Mapping[str, str]
    verdicts: Mapping[str, Verdict | NoVerdict] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Of the conversation."""
        return self.task.conversation.id

    @property
    def language(self) -> str:
        """Of the audio, without region or script, which no score differs by; for translation the pair."""
        custom = self.task.conversation.custom
        spoken = base_language(custom["lang"])
        return f"{spoken}-{base_language(custom['target_lang'])}" if self.asked.kind == "ast" else spoken

    @property
    def rule(self) -> str:
        """Of a public benchmark, by name; empty where only a judge can tell."""
        return str(self.task.conversation.custom.get("rule") or "")

    @property
    def row(self) -> Mapping[str, Any]:
        """What that rule needs."""
        return self.task.conversation.custom.get("row") or {}

    @property
    def references(self) -> list[str]:
        """Answers that count as right: ``custom.answers``, or the assistant's turn."""
        return self.task.conversation.custom.get("answers") or [self.task.reference]

    def right(self, side: str) -> bool | None:
        """Whether the answer passes; None for transcripts and translations, which are more or less right."""
        if self.asked.kind in ("asr", "ast"):
            return None
        if self.asked.kind == "public":
            rule = RULES.get(self.rule)
            marks = None if rule is None else rule.mark(self.said[side], self.row)
            return None if rule is None else marks is not None and rule.right(marks)
        if self.asked.kind == "sqa":
            return squad_exact([self.references], [self.said[side]]).value == 1.0
        return follows(self.said[side], check_of(self.task))


def check_scored(plan: Plan) -> None:
    """Sees, before anything is asked, whether what scores translations is there.

    Raises:
        VTBError: If sacrebleu, or its tokenizer of a language, is not installed.
    """
    translated = [task for part in plan.questions if part.kind == "ast" for task in part.tasks]
    for target in sorted({base_language(task.conversation.custom["target_lang"]) for task in translated}):
        translation_scores(["-"], ["-"], target)


def items_of(plan: Plan, answers: Answers) -> list[Item]:
    """Every prompt of one exchange, in the order of the plan."""

    def verdicts(number: int, row: int) -> dict[str, Verdict | NoVerdict]:
        found = {side: of_sets[number][row] for side, of_sets in answers.verdicts.items()}
        return {side: verdict for side, verdict in found.items() if verdict is not None}

    return [
        Item(part, task, {side: answers.questions[side][number][row] for side in SIDES}, verdicts(number, row))
        for number, part in enumerate(plan.questions)
        for row, task in enumerate(part.tasks)
    ]


def measures(items: Sequence[Item], side: str) -> dict[str, tuple[Sums, dict[str, str]]]:
    """All scores of one side's answers, each with what must be known to compare it with others'.

    Args:
        items: Of one kind and, for recognition and translation, one language; at least one.
        side: Whose answers.
    """
    said = [item.said[side] for item in items]
    references = [item.task.reference for item in items]
    kind = items[0].asked.kind
    if kind == "asr":
        language = items[0].language
        used = {"normaliser": normaliser_name(language)}
        return {
            "wer": (word_errors(references, said, language), used),
            "cer": (character_errors(references, said, language), used),
        }
    if kind == "ast":
        target = base_language(items[0].task.conversation.custom["target_lang"])
        scored = translation_scores(references, said, target)
        return {name: (sums, {"signature": signature}) for name, (sums, signature) in scored.items()}
    if kind == "sqa":
        right = [item.references for item in items]
        exact: dict[str, tuple[Sums, dict[str, str]]] = {
            "em": (squad_exact(right, said), {}),
            "f1": (squad_f1(right, said), {}),
        }
        return exact | _judged(items, side)
    return {"accuracy": (passed(items, side), {})}


def passed(items: Sequence[Item], side: str) -> Sums:
    """The share of answers that pass their check."""
    return shares([bool(item.right(side)) for item in items])


def _judged(items: Sequence[Item], side: str) -> dict[str, tuple[Sums, dict[str, str]]]:
    """A judge's scores, over the prompts on which it has a verdict for both sides."""
    pairs = [item.verdicts for item in items if item.verdicts]
    whole = [pair[side] for pair in pairs if all(isinstance(pair[other], Verdict) for other in SIDES)]
    verdicts = [verdict for verdict in whole if isinstance(verdict, Verdict)]
    if not verdicts:
        return {}
    return {
        "correct": (shares([verdict.correct for verdict in verdicts]), {}),
        "redundancy": (means([verdict.redundancy for verdict in verdicts]), {}),
    }
