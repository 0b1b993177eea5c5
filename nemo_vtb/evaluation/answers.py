"""Answering held-out conversations in batches."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.models.generate import default_generation_config, lora_for_prompts, prompt_embeddings, row_gate
from nemo_vtb.models.heard import HeardClips
from nemo_vtb.parts.eval_mode import evaluating
from nemo_vtb.parts.prompts.turn_mask import encode_turns, merged_turns

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


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


@torch.no_grad()
def answer_tasks(
    model: "VoiceTextBlender",
    dataset: VTBDataset,
    tasks: Sequence[Task],
    max_new_tokens: int = 24,
    batch_size: int = 48,
    label: str = "answer",
    bar: Any = None,
    heard: HeardClips | None = None,
) -> list[str]:
    """Returns the greedy answer to each task's prompt, in order.

    Args:
        model: Put in evaluation mode and back.
        dataset: Loads clips and encodes.
        tasks: What to answer.
        max_new_tokens: Longest answer.
        batch_size: Prompts at a time, alike in length.
        label: Name on the progress bar.
        bar: A progress bar of a longer piece of work, to be moved on instead of one of its own.
        heard: Knows clips that were asked about before.
    """
    answers = [""] * len(tasks)
    order = sorted(range(len(tasks)), key=lambda i: tasks[i].seconds)
    heard = heard or HeardClips(model)
    # Where LoRA answers speech alone, a batch holds prompts of one sort.
    sorts = [list(of) for _, of in groupby(order, lambda i: model.gated and tasks[i].seconds > 0)]
    own = tqdm(total=len(tasks), desc=label, unit="prompt") if bar is None else nullcontext(bar)
    with evaluating(model), model.arithmetic(), own as shown:
        for of_sort in sorts:
            with lora_for_prompts(model, tasks[of_sort[0]].seconds > 0):
                for part in _batched(of_sort, batch_size):
                    batch = dataset[[tasks[i].conversation for i in part]]
                    rows = [_prompt_ids(model, tasks[i].conversation) for i in part]
                    asked = prompt_embeddings(model, rows, batch, heard)
                    config = default_generation_config(model, max_new_tokens=max_new_tokens)
                    ids = model.backbone.generate(asked.embeds, asked.mask, config, row_gate(model, rows), asked.ids)
                    for i, row in zip(part, ids.tolist(), strict=True):
                        answers[i] = model.tokenizer.ids_to_text(row).strip()
                    shown.update(len(part))
    return answers


def _batched(numbers: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def _prompt_ids(model: "VoiceTextBlender", conversation: Any) -> Any:
    turns = merged_turns(conversation, model.audio_locator_tag)[:-1]
    return encode_turns(turns, model.formatter, for_generation=True).input_ids
