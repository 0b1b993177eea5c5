"""Answering held-out conversations in batches."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from nemo_vtb.data.dataset import VTBDataset, clip_name
from nemo_vtb.errors import VTBError
from nemo_vtb.inference.greedy_batch import answers_together, bytes_a_position, greedy_answers
from nemo_vtb.models.answers.generate import (
    default_generation_config,
    lora_for_prompts,
    prompt_embeddings,
    row_gate,
    spliced_prompts,
)
from nemo_vtb.models.answers.heard import HeardClips
from nemo_vtb.modules.llm.parts import position_limit
from nemo_vtb.parts.eval_mode import evaluating
from nemo_vtb.parts.prompts.turn_mask import encode_turns, merged_turns

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

# Of keys and values of prompts that are answered together.
_CACHE_BYTES = 1 << 30
# Of LLMs that Hugging Face's own generate answers for.
_ASKED_PLAINLY = 32


@dataclass(frozen=True)
class Task:
    """One prompt with a reference answer.

    Attributes:
        kind: Kind of the conversation.
        conversation: Up to and with the assistant turn, which is the reference.
        group: What results are averaged over, e.g. a language or a test set.
    """

    kind: str
    conversation: Any
    group: str = ""

    @property
    def reference(self) -> str:
        """The last assistant turn."""
        return self.conversation.turns[-1].value

    @property
    def seconds(self) -> float:
        """Audio in the prompt."""
        return sum(cut.duration for cut in self.conversation.list_cuts())


class Said(str):
    """An answer.

    Attributes:
        cut: Whether it has as many tokens as it may have, so that more might have followed.
    """

    cut: bool = False

    def __new__(cls, text: str, cut: bool = False) -> "Said":
        """The text with what is known of its end."""
        said = super().__new__(cls, text)
        said.cut = cut
        return said


@torch.no_grad()
def answer_tasks(
    model: "VoiceTextBlender",
    dataset: VTBDataset,
    tasks: Sequence[Task],
    max_new_tokens: int | Sequence[int] = 24,
    batch_size: int = 128,
    label: str = "answer",
    bar: Any = None,
    heard: HeardClips | None = None,
) -> list[str]:
    """Returns the greedy answer to each task's prompt, a ``Said``, in order; one ends where the LLM's positions do.

    Args:
        model: Put in evaluation mode and back.
        dataset: Loads clips and encodes.
        tasks: What to answer.
        max_new_tokens: Longest answer, of all or of each.
        batch_size: Most prompts at a time; fewer where their keys and values would take more than a gibibyte.
        label: Name on the progress bar.
        bar: A progress bar of a longer piece of work, to be moved on instead of one of its own.
        heard: Knows clips that were asked about before.

    Raises:
        VTBError: Names a conversation that leaves the LLM no position to answer at.
    """
    limits = [max_new_tokens] * len(tasks) if isinstance(max_new_tokens, int) else list(max_new_tokens)
    answers: list[str] = [Said("")] * len(tasks)
    rows = [_prompt_ids(model, task.conversation) for task in tasks]
    # Before anything is asked, by the length of the clips.
    for task, row in zip(tasks, rows, strict=True):
        _room(model, task, len(row) + int(task.seconds / model.token_equivalent_duration))
    heard = heard or HeardClips(model)
    own = tqdm(total=len(tasks), desc=label, unit="prompt") if bar is None else nullcontext(bar)
    with evaluating(model), model.arithmetic(), own as shown:
        # Where LoRA answers speech alone, a batch holds prompts of one sort.
        for speech in (False, True):
            of_sort = [i for i, task in enumerate(tasks) if (model.gated and task.seconds > 0) == speech]
            if not of_sort:
                continue
            with lora_for_prompts(model, speech):
                for part in _batches(model, tasks, rows, limits, of_sort, batch_size):
                    asked = [tasks[i] for i in part]
                    batch = dataset[[task.conversation for task in asked]]
                    said = _said(model, asked, [rows[i] for i in part], [limits[i] for i in part], batch, heard)
                    for i, (ids, cut) in zip(part, said, strict=True):
                        answers[i] = Said(model.tokenizer.ids_to_text(ids).strip(), cut)
                    shown.update(len(part))
    return answers


def _said(
    model: "VoiceTextBlender",
    tasks: Sequence[Task],
    rows: list[Any],
    limits: list[int],
    batch: dict[str, Any],
    heard: HeardClips,
) -> Iterator[tuple[list[int], bool]]:
    """Ids of the answers to a batch of prompts of one sort, and whether each has as many as it may have."""
    config = default_generation_config(model, max_new_tokens=max(limits))
    gate = row_gate(model, rows)
    if answers_together(model.backbone):
        prompts = spliced_prompts(model, rows, batch, heard)
        rooms = [_room(model, task, len(prompt.keys)) for task, prompt in zip(tasks, prompts, strict=True)]
        limits = list(map(min, limits, rooms))
        said = greedy_answers(model.backbone, prompts, limits, config.eos_token_id, None if gate is None else gate[:1])
        yield from ((ids, len(ids) == limit) for ids, limit in zip(said, limits, strict=True))
        return
    asked = prompt_embeddings(model, rows, batch, heard)
    longest = int(asked.mask.sum(1).argmax())
    config.max_new_tokens = min(max(limits), _room(model, tasks[longest], asked.embeds.shape[1]))
    for ids in model.backbone.generate(asked.embeds, asked.mask, config, gate, asked.ids).tolist():
        yield ids, not set(config.eos_token_id) & set(ids)


def _room(model: "VoiceTextBlender", task: Task, positions: int) -> int:
    """Tokens that an answer may have behind so many positions of its prompt."""
    most = position_limit(model.backbone.causal_lm)
    if positions >= most:
        raise VTBError(
            f"{task.conversation.id}: the prompt takes {positions:,} positions, and the LLM has {most:,} for "
            "prompt and answer: leave it out, or shorten it"
        )
    return most - positions


def _batches(
    model: "VoiceTextBlender",
    tasks: Sequence[Task],
    rows: Sequence[Any],
    limits: Sequence[int],
    of_sort: Sequence[int],
    most: int,
) -> Iterator[list[int]]:
    """Prompts that are answered at a time."""
    if not answers_together(model.backbone):
        order = sorted(of_sort, key=lambda i: (limits[i], tasks[i].seconds, len(rows[i])))
        for _, alike in groupby(order, lambda i: limits[i]):
            left = list(alike)
            size = min(most, _ASKED_PLAINLY)
            for start in range(0, len(left), size):
                yield left[start : start + size]
        return
    part: list[int] = []
    longest, room = 0, _CACHE_BYTES // bytes_a_position(model.backbone)
    # Prompts that begin alike stand side by side.
    for i in sorted(of_sort, key=lambda i: (limits[i], prompt_of(tasks[i]))):
        positions = len(rows[i]) + limits[i] + int(tasks[i].seconds / model.token_equivalent_duration)
        if part and (len(part) == most or max(longest, positions) * (len(part) + 1) > room):
            yield part
            part, longest = [], 0
        part.append(i)
        longest = max(longest, positions)
    if part:
        yield part


def prompt_of(task: Task) -> tuple[tuple[str, str], ...]:
    """What a prompt says, turn by turn: role and words, or the clip's name."""
    turns = task.conversation.turns[:-1]
    return tuple((turn.role, clip_name(turn.cut) if hasattr(turn, "cut") else turn.value) for turn in turns)


def _prompt_ids(model: "VoiceTextBlender", conversation: Any) -> Any:
    turns = merged_turns(conversation, model.audio_locator_tag)[:-1]
    return encode_turns(turns, model.formatter, for_generation=True).input_ids
