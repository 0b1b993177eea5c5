"""What was said, prompt by prompt: some of it for the page, all of it for ``answers.jsonl``."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import Any

from nemo_vtb.data.audio.recordings import recordings_in
from nemo_vtb.evaluation.ask import SIDES, Answers
from nemo_vtb.evaluation.items import Item
from nemo_vtb.evaluation.sets.multiturn import Script
from nemo_vtb.evaluation.sets.plan import Plan

_PER_SET = 3


def page_samples(items: Sequence[Item], plan: Plan, answers: Answers) -> list[dict[str, Any]]:
    """The first prompts of each set, as ``pages.samples.samples_table`` takes them; ``before`` is the untouched LLM."""
    rows = []
    for _, group in groupby(items, key=lambda item: (item.asked.name, item.asked.form)):
        rows += [_sample(item) for item in list(group)[:_PER_SET]]
    for number, part in enumerate(plan.scripts):
        said = {side: answers.scripts[side][number] for side in SIDES}
        rows += [
            _conversation(script, {side: said[side][row] for side in SIDES}, part.name)
            for row, script in enumerate(part.scripts[:_PER_SET])
        ]
    return rows


def answer_rows(items: Sequence[Item], plan: Plan, answers: Answers) -> Iterator[dict[str, Any]]:
    """Every answer, with the id of its prompt and whether it is right (null: not a matter of right or wrong).

    An answer that was cut off at the most tokens of its set says so. One that was judged has the verdict, or why there
    is none.
    """
    for item in items:
        about = {"set": item.asked.name, "kind": item.asked.kind, "form": item.asked.form, "id": item.id}
        right = {f"{side}_right": item.right(side) for side in SIDES}
        cut = {f"{side}_cut": True for side in SIDES if getattr(item.said[side], "cut", False)}
        judged = {f"{side}_judged": asdict(verdict) for side, verdict in item.verdicts.items()}
        yield {**about, "reference": item.task.reference, **item.said, **right, **cut, **judged}
    for number, part in enumerate(plan.scripts):
        for row, script in enumerate(part.scripts):
            about = {"set": part.name, "kind": "multiturn", "form": "", "id": script.conversation.id}
            said = {side: list(answers.scripts[side][number][row]) for side in SIDES}
            marks = {f"{side}_right": script.right(said[side]) for side in SIDES}
            yield {**about, "reference": _references(script), **said, **marks}


def _sample(item: Item) -> dict[str, Any]:
    name = f"{item.asked.name} ({item.asked.form})" if item.asked.form else item.asked.name
    turns = item.task.conversation.turns[:-1]
    return {
        "kind": name,
        "prompt": " ".join(map(_words, turns)),
        "audio": _clips(turns),
        "reference": item.task.reference,
        "before": item.said["base"],
        "after": item.said["tuned"],
        "correct_before": item.right("base"),
        "correct_after": item.right("tuned"),
    }


def _conversation(script: Script, said: dict[str, Sequence[str]], name: str) -> dict[str, Any]:
    turns = script.conversation.turns
    asked = [
        " ".join(map(_words, group)) for role, group in groupby(turns, key=lambda turn: turn.role) if role == "user"
    ]
    passed = {side: [right for right in script.right(said[side]) if right is not None] for side in SIDES}
    return {
        "kind": name,
        "prompt": _numbered(asked),
        "audio": _clips(turns),
        "reference": _numbered(_references(script)),
        "before": _numbered(said["base"]),
        "after": _numbered(said["tuned"]),
        "correct_before": all(passed["base"]),
        "correct_after": all(passed["tuned"]),
    }


def _references(script: Script) -> list[str]:
    return [script.conversation.turns[place].value for place in script.answers]


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


def _words(turn: Any) -> str:
    return "♪" if hasattr(turn, "cut") else turn.value


def _clips(turns: Sequence[Any]) -> list[str]:
    """Files of the clips; one inside a tar has none."""
    heard = [recording for turn in turns if hasattr(turn, "cut") for recording in recordings_in(turn.cut)]
    sources = [recording.sources[0].source for recording in heard]
    return [source for source in sources if isinstance(source, str)]
