"""Asking everything of a checkpoint and of its untouched LLM."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.evaluation.answers import Task, answer_tasks
from nemo_vtb.evaluation.choose import option_nats
from nemo_vtb.evaluation.judging.judge import NoVerdict, Verdict
from nemo_vtb.evaluation.retention.divergence import text_likelihoods
from nemo_vtb.evaluation.sets.multiturn import run_scripts
from nemo_vtb.evaluation.sets.plan import Plan
from nemo_vtb.models.heard import HeardClips
from nemo_vtb.modules.lora.untouched import not_linear
from nemo_vtb.parts.ranks import is_first

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

# The checkpoint as it is, and the same with LoRA switched off: where there is speech, the untouched LLM hears it
# through the trained adapter.
SIDES = ("tuned", "base")


@dataclass(frozen=True)
class Answers:
    """What was said, in the order of the plan.

    Attributes:
        questions: By side and set: one answer for each prompt.
        scripts: By side and set: one list for each conversation.
        chats: By suite ``(conversations, 4)``; see ``text_likelihoods``.
        choices: By side and suite: what each option of each question costs; see ``option_nats``.
        verdicts: As ``questions``, what a judge says of each answer; None where nobody judged. Empty without a judge.
    """

    questions: Mapping[str, Sequence[Sequence[str]]]
    scripts: Mapping[str, Sequence[Sequence[Sequence[str]]]]
    chats: Mapping[str, np.ndarray]
    verdicts: Mapping[str, Sequence[Sequence[Verdict | NoVerdict | None]]] = field(default_factory=dict)
    choices: Mapping[str, Mapping[str, Sequence[Sequence[float]]]] = field(default_factory=dict)


def ask(model: "VoiceTextBlender", dataset: VTBDataset, plan: Plan, batch_size: int) -> Answers:
    """Answers everything greedily, twice, with one progress bar over all of it.

    Args:
        model: In evaluation mode.
        dataset: Loads clips and encodes.
        plan: What is asked.
        batch_size: Prompts at a time.
    """
    questions: dict[str, list[list[str]]] = {}
    scripts: dict[str, list[list[list[str]]]] = {}
    choices: dict[str, dict[str, Sequence[Sequence[float]]]] = {}
    heard = HeardClips(model)
    # Without audio a gate leaves the LLM untouched: what one side said, the other would say again.
    gated = model.gated and not_linear(model.llm) is None
    untouched: dict[tuple[Any, ...], str] = {}
    total = len(SIDES) * (plan.answers + sum(map(len, plan.choices.values()))) + sum(map(len, plan.chats.values()))
    with tqdm(total=total, unit="answer", smoothing=0.05, disable=not is_first()) as bar:

        def answered(tasks: Sequence[Task], limit: int) -> list[str]:
            # A batch is padded to its longest prompt; those without audio are sorted by nothing else.
            order = sorted(range(len(tasks)), key=lambda i: sum(len(t.value) for t in _written(tasks[i])))
            keys = {i: _prompt(tasks[i], limit) for i in order if gated and not tasks[i].seconds}
            placed = {i: untouched[key] for i, key in keys.items() if key in untouched}
            left = [i for i in order if i not in placed]
            bar.update(len(placed))
            said = answer_tasks(model, dataset, [tasks[i] for i in left], limit, batch_size, bar=bar, heard=heard)
            placed |= zip(left, said, strict=True)
            untouched.update((key, placed[i]) for i, key in keys.items())
            return [placed[i] for i in range(len(tasks))]

        for side in SIDES:
            with model.backbone.without_lora() if side == "base" else nullcontext():
                questions[side], scripts[side] = [], []
                for part in plan.questions:
                    bar.set_description(f"{side}: {part.name} {part.form}".rstrip())
                    questions[side].append(answered(part.tasks, part.max_new_tokens))
                for talk in plan.scripts:
                    bar.set_description(f"{side}: {talk.name}")
                    limit = talk.max_new_tokens
                    said = run_scripts(talk.scripts, lambda tasks, limit=limit: answered(tasks, limit))  # type: ignore[misc]
                    scripts[side].append(said)
                for name, asked in plan.choices.items():
                    bar.set_description(f"{side}: {name}")
                    choices.setdefault(side, {})[name] = option_nats(model, asked, bar=bar)
        chats = {}
        for name, conversations in plan.chats.items():
            bar.set_description(name)
            chats[name] = text_likelihoods(model, dataset, conversations, bar=bar)
    return Answers(questions, scripts, chats, choices=choices)


def _prompt(task: Task, limit: int) -> tuple[Any, ...]:
    """What a prompt without audio says, and how long its answer may be."""
    return (limit, *((turn.role, turn.value) for turn in task.conversation.turns[:-1]))


def _written(task: Task) -> list:
    return [turn for turn in task.conversation.turns if not hasattr(turn, "cut")]
