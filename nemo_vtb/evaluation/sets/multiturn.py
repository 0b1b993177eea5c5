"""Scripted conversations: the model answers every turn itself, and its answers stay in what it reads next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lhotse.utils import fastcopy
from nemo.collections.common.data.lhotse.text_adapters import TextTurn

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import Task
from nemo_vtb.evaluation.sets.instructions import Check, follows
from nemo_vtb.evaluation.sets.usable_checks import check_usable

# Answers questions in their order.
Answerer = Callable[[Sequence[Task]], list[str]]


@dataclass(frozen=True)
class Script:
    """A conversation whose answers are checked.

    Attributes:
        conversation: With reference answers, which only people read.
        checks: One for each answer; None where anything may be said.
        group: Its set.
    """

    conversation: Any
    checks: Sequence[Check | None]
    group: str = ""

    @property
    def answers(self) -> list[int]:
        """Places of the assistant's turns."""
        return [place for place, turn in enumerate(self.conversation.turns) if turn.role == "assistant"]

    def right(self, said: Sequence[str]) -> list[bool | None]:
        """Whether each answer passes its check; None where there is none."""
        pairs = zip(said, self.checks, strict=True)
        return [None if check is None else follows(answer, check) for answer, check in pairs]


def script(task: Task) -> Script:
    """Reads the checks of a conversation, which stand in its ``custom.checks``, one for each answer or null.

    Raises:
        VTBError: Names the conversation whose checks are missing, do not fit its answers, or cannot be used.
    """
    conversation = task.conversation
    where = f"{conversation.id}: custom.checks"
    checks = conversation.custom.get("checks")
    if not isinstance(checks, list) or not any(check is not None for check in checks):
        raise VTBError(f"{where} must list a check, or null, for each answer")
    for number, check in enumerate(checks):
        if check is not None:
            check_usable(check, f"{where}[{number}]")
    made = Script(conversation, checks, task.group)
    if len(made.answers) != len(checks):
        raise VTBError(f"{where} lists {len(checks)} checks for {len(made.answers)} answers")
    return made


def run_scripts(scripts: Sequence[Script], answer: Answerer) -> list[list[str]]:
    """Lets a model answer every turn of every script, the same turn of all of them at a time.

    Args:
        scripts: The conversations.
        answer: Answers the last turn of conversations.

    Returns:
        What was said, by script and answer.
    """
    said: list[list[str]] = [[] for _ in scripts]
    for number in range(max((len(script.answers) for script in scripts), default=0)):
        waiting = [index for index, script in enumerate(scripts) if number < len(script.answers)]
        tasks = [Task("multiturn", _so_far(scripts[index], said[index]), scripts[index].group) for index in waiting]
        for index, reply in zip(waiting, answer(tasks), strict=True):
            said[index].append(reply)
    return said


def _so_far(script: Script, said: Sequence[str]) -> Any:
    """The conversation up to the next answer, with the model's own answers in the place of the references."""
    places = script.answers
    own = dict(zip(places, said, strict=False))
    turns = [
        TextTurn(value=own[place], role="assistant") if place in own else turn
        for place, turn in enumerate(script.conversation.turns[: places[len(said)] + 1])
    ]
    return fastcopy(script.conversation, turns=turns)
