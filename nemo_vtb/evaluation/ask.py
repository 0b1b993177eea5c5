"""Asking everything of a checkpoint and of its untouched LLM."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.evaluation.answers import Task, answer_tasks, prompt_of
from nemo_vtb.evaluation.choose import option_nats
from nemo_vtb.evaluation.judging.judge import NoVerdict, Verdict
from nemo_vtb.evaluation.retention.divergence import text_likelihoods
from nemo_vtb.evaluation.sets.multiturn import run_scripts
from nemo_vtb.evaluation.sets.plan import Plan
from nemo_vtb.models.answers.heard import HeardClips
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
    known: dict[tuple[Any, ...], str] = {}
    total = len(SIDES) * (plan.answers + sum(map(len, plan.choices.values()))) + sum(map(len, plan.chats.values()))
    with tqdm(total=total, unit="answer", smoothing=0.05, disable=not is_first()) as bar:

        def answered(tasks: Sequence[Task], limits: Sequence[int], side: str) -> list[str]:
            """Asks what was not asked before: two sets may ask the same of one clip."""
            keys = [
                ("" if gated and not task.seconds else side, limit, *prompt_of(task))
                for task, limit in zip(tasks, limits, strict=True)
            ]
            new = {key: place for place, key in enumerate(keys) if key not in known}
            bar.update(len(tasks) - len(new))
            left, most = [tasks[place] for place in new.values()], [limits[place] for place in new.values()]
            said = answer_tasks(model, dataset, left, most, batch_size, bar=bar, heard=heard)
            known.update(zip(new, said, strict=True))
            return [known[key] for key in keys]

        def answered_alike(limit: int, side: str, tasks: Sequence[Task]) -> list[str]:
            return answered(tasks, [limit] * len(tasks), side)

        for side in SIDES:
            with model.backbone.without_lora() if side == "base" else nullcontext():
                bar.set_description(side)
                # Prompts of all sets together: what begins alike is read once.
                asked_of = [(task, part.max_new_tokens) for part in plan.questions for task in part.tasks]
                said = iter(answered([task for task, _ in asked_of], [limit for _, limit in asked_of], side))
                questions[side] = [[next(said) for _ in part.tasks] for part in plan.questions]
                scripts[side] = []
                for talk in plan.scripts:
                    bar.set_description(f"{side}: {talk.name}")
                    turns = run_scripts(talk.scripts, partial(answered_alike, talk.max_new_tokens, side))
                    scripts[side].append(turns)
                for name, asked in plan.choices.items():
                    bar.set_description(f"{side}: {name}")
                    choices.setdefault(side, {})[name] = option_nats(model, asked, bar=bar)
        chats = {}
        for name, conversations in plan.chats.items():
            bar.set_description(name)
            chats[name] = text_likelihoods(model, dataset, conversations, bar=bar)
    return Answers(questions, scripts, chats, choices=choices)
