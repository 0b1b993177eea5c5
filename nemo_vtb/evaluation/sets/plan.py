"""What ``vtb eval`` asks: the sections ``eval.sets`` and ``eval.text`` of its config, read before anything runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from nemo_vtb.data.row_forms.languages import base_language
from nemo_vtb.data.sources.source import Reading
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import Task
from nemo_vtb.evaluation.sets.choices import Choice
from nemo_vtb.evaluation.sets.held_out import HeldOutSet, answer_limit, held_out_set
from nemo_vtb.evaluation.sets.instructions import Check
from nemo_vtb.evaluation.sets.mixed_forms import FORMS, prompt_forms
from nemo_vtb.evaluation.sets.multiturn import Script, script
from nemo_vtb.evaluation.sets.suites import read_suite
from nemo_vtb.evaluation.sets.usable_checks import check_usable
from nemo_vtb.options import Key, Range, typed

KINDS = ("asr", "ast", "sqa", "mixed", "multiturn", "public")
# What decides how a transcript or translation is normalised.
_NORMALISED_BY = {"asr": "lang", "ast": "target_lang"}
OPTIONS = {
    "max_new_tokens": Key("int or null", "Longest answer; null: max_new_tokens of the section above.", None),
    "probe": Key("bool", "Whether it shows what no training data teaches, and is reported apart.", False),
    "against": Key("str", "A probe with the same clips that it is compared with.", ""),
    "max_duration": Key("float above 0 or null", "Longest clip of the set, in seconds; null: 30.", None),
}


@dataclass(frozen=True)
class Questions:
    """Prompts that are answered alike.

    Attributes:
        name: Of the set or text suite.
        kind: One of ``KINDS`` or ``text``.
        tasks: The prompts.
        max_new_tokens: Longest answer.
        form: How a mixed or public prompt is put: ``text``, ``speech`` or ``half``; empty for all others.
        probe: Whether it shows what no training data teaches, and is reported apart.
        against: A probe with the same clips that it is compared with.
    """

    name: str
    kind: str
    tasks: Sequence[Task]
    max_new_tokens: int
    form: str = ""
    probe: bool = False
    against: str = ""


@dataclass(frozen=True)
class Scripts:
    """Conversations of several turns; ``max_new_tokens`` of each answer."""

    name: str
    scripts: Sequence[Script]
    max_new_tokens: int


@dataclass(frozen=True)
class Plan:
    """Everything that is asked.

    Attributes:
        questions: Sets and text suites of one exchange.
        scripts: Sets of several turns.
        chats: Text conversations whose likelihood is measured, by suite.
        choices: Questions whose options are compared by likelihood, by suite.
    """

    questions: Sequence[Questions]
    scripts: Sequence[Scripts]
    chats: Mapping[str, Sequence[Any]]
    choices: Mapping[str, Sequence[Choice]] = field(default_factory=dict)

    @property
    def answers(self) -> int:
        """How many answers one model gives."""
        turns = sum(len(script.checks) for part in self.scripts for script in part.scripts)
        return turns + sum(len(part.tasks) for part in self.questions)


def read_plan(section: Mapping[str, Any], reading: Reading) -> Plan:
    """Reads every set.

    Args:
        section: ``eval`` of the config, as plain containers.
        reading: How sources are read.

    Raises:
        VTBError: Names the key, or the file and line, of what cannot be asked.
    """
    questions: list[Questions] = []
    scripts: list[Scripts] = []
    for name, entry in (section.get("sets") or {}).items():
        where = f"eval.sets.{name}"
        limit = _limit(entry, section, where)
        if entry.get("kind", KINDS[0]) not in KINDS:
            raise VTBError(f"{where}.kind is '{entry['kind']}'; it may be {', '.join(KINDS)}")
        if entry.get("kind") == "multiturn" and {"probe", "against"} & entry.keys():
            raise VTBError(f"{where}: a set of several turns cannot be a probe")
        longest = reading.max_seconds
        if entry.get("max_duration") is not None:
            longest = typed(f"{where}.max_duration", entry["max_duration"], Annotated[float, Range(0, above=True)])
        found = held_out_set({**entry, "group": name}, where, replace(reading, max_seconds=longest), tuple(OPTIONS))
        if found.kind == "multiturn":
            scripts.append(Scripts(name, [_at(where, script, task) for task in found.tasks], limit))
        else:
            questions += _questions(found, name, where, limit)
    chats: dict[str, Sequence[Any]] = {}
    choices: dict[str, Sequence[Choice]] = {}
    for name, entry in (section.get("text") or {}).items():
        where = f"eval.text.{name}"
        suite = read_suite(entry, where, reading)
        if suite.chats:
            chats[name] = suite.chats
        elif suite.choices:
            choices[name] = suite.choices
        else:
            questions.append(Questions(name, "text", suite.tasks, _limit(entry, section, where)))
    _check_pairs(questions)
    return Plan(questions, scripts, chats, choices)


def check_of(task: Task) -> Check:
    """What a mixed or written prompt's answer must pass; without a check it is the reference, case and all."""
    return task.conversation.custom.get("check") or {"type": "verbatim", "answer": task.reference}


def _questions(found: HeldOutSet, name: str, where: str, limit: int) -> list[Questions]:
    probe, against = bool(found.options.get("probe")), found.options.get("against", "")
    for task in found.tasks:
        _check_row(task, f"{where}: {task.conversation.id}")
    if probe and (key := _NORMALISED_BY.get(found.kind)):
        several = sorted({base_language(task.conversation.custom[key]) for task in found.tasks})
        if len(several) > 1:
            raise VTBError(f"{where}: a probe has one score, so one {key}, not {', '.join(several)}; choose with only")
    if found.kind == "public":
        return _public(found, name, limit)
    if found.kind != "mixed" or probe:
        return [Questions(name, found.kind, found.tasks, limit, probe=probe, against=against)]
    forms: dict[str, list[Task]] = {form: [] for form in FORMS}
    for task in found.tasks:
        for form, conversation in _at(where, prompt_forms, task.conversation).items():
            forms[form].append(Task("mixed", conversation, name))
    return [Questions(name, "mixed", tasks, limit, form) for form, tasks in forms.items() if tasks]


def _public(found: HeldOutSet, name: str, limit: int) -> list[Questions]:
    """A benchmark's rows as they are heard, and in writing where the benchmark has the words of every clip."""
    asked: dict[str, list[Task]] = {"speech": [], "text": []}
    for task in found.tasks:
        asked["speech"].append(task)
        clips = [turn for turn in task.conversation.turns if hasattr(turn, "cut")]
        if all(turn.text for turn in clips):
            asked["text"].append(Task("public", prompt_forms(task.conversation)["text"], name))
    return [Questions(name, "public", tasks, limit, form) for form, tasks in asked.items() if tasks]


def _check_row(task: Task, where: str) -> None:
    custom = task.conversation.custom
    needed = {"asr": ("lang",), "ast": ("lang", "target_lang")}.get(task.kind, ())
    if missing := [key for key in needed if not custom.get(key)]:
        raise VTBError(f"{where} has no {missing[0]}; name it in the row or under tags")
    answers = custom.get("answers") or []
    if task.kind == "sqa" and not (isinstance(answers, list) and all(isinstance(one, str) for one in answers)):
        raise VTBError(f"{where}: custom.answers is {answers!r}; it is a list of the answers that count as right")
    if task.kind == "mixed":
        check_usable(check_of(task), where)


def _check_pairs(questions: Sequence[Questions]) -> None:
    probes = {part.name: part for part in questions if part.probe}
    for part in questions:
        if not part.against:
            continue
        where = f"eval.sets.{part.name}.against"
        other = probes.get(part.against)
        if other is None or not part.probe or other.kind != part.kind:
            raise VTBError(
                f"{where} is '{part.against}'; it names another probe of kind {part.kind}, and needs probe: true"
            )
        if ids_of(part) != ids_of(other):
            raise VTBError(f"{where}: '{part.against}' asks about other rows, so that the two cannot be compared")


def ids_of(part: Questions) -> set[str]:
    """Names of its prompts."""
    return {task.conversation.id for task in part.tasks}


def _limit(entry: Any, section: Mapping[str, Any], where: str) -> int:
    if not isinstance(entry, Mapping):
        raise VTBError(f"{where} is {entry!r}; it is a section with the keys of an input_cfg entry")
    return answer_limit(entry, section.get("max_new_tokens", 32), where)


def _at(where: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except VTBError as error:
        raise VTBError(f"{where}: {error}") from error
