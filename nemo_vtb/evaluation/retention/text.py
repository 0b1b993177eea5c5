"""Text suites asked during training, of the LLM as tuned so far and of the untouched one, by all ranks together."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.sources.source import Reading
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import Task, answer_tasks
from nemo_vtb.evaluation.retention.divergence import text_likelihoods
from nemo_vtb.evaluation.scoring.bootstrap import Drawing, difference, shares
from nemo_vtb.evaluation.sets.held_out import answer_limit
from nemo_vtb.evaluation.sets.instructions import follows
from nemo_vtb.evaluation.sets.suites import read_suite
from nemo_vtb.models.answers.generate import default_generation_config, prompt_embeddings
from nemo_vtb.modules.greedy import greedy_replies
from nemo_vtb.parts.eval_mode import evaluating
from nemo_vtb.parts.prompts.turn_mask import encode_turns, merged_turns
from nemo_vtb.parts.ranks import all_ranks_list

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

_AT_ONCE = 32


@dataclass(frozen=True)
class Retained:
    """What was measured, the same on every rank.

    Attributes:
        suites: As ``gate.check`` takes them.
        kl: KL(untouched || tuned) on held-out conversations, nats per supervised token; None without any.
    """

    suites: Mapping[str, Mapping[str, Any]]
    kl: float | None

    @property
    def score(self) -> float:
        """Mean over the suites, a fraction."""
        return sum(suite["tuned"] for suite in self.suites.values()) / len(self.suites)


@dataclass(frozen=True)
class _Suite:
    tasks: Sequence[Task]
    limit: int


class RetainedText:
    """Measures what is left of the untouched LLM's text.

    The untouched LLM is asked once; it is the tuned one with LoRA off.

    Args:
        model: Being trained.
        text: Suites by name, as under ``eval.text``: see ``nemo_vtb.evaluation.sets.suites``.
        rank: Of this process.
        ranks: Of the run. Each asks its share of the prompts.

    Raises:
        VTBError: If a suite cannot be read or has an impossible limit, or none has replies that are checked.
    """

    def __init__(self, model: "VoiceTextBlender", text: Mapping[str, Any], rank: int = 0, ranks: int = 1) -> None:
        self._model, self._rank, self._ranks = model, rank, ranks
        self._dataset = VTBDataset(model.tokenizer, model.cfg.prompt_format, model.audio_locator_tag)
        reading = Reading(model.audio_locator_tag, model.token_equivalent_duration)
        self._suites: dict[str, _Suite] = {}
        self._chats: list[Any] = []
        for name, entry in text.items():
            where = f"model.retention.text.{name}"
            suite = read_suite(entry, where, reading)
            if suite.choices:
                raise VTBError(f"{where}: in training, replies are checked: replies, word_problems or likelihood")
            if suite.tasks:
                self._suites[name] = _Suite(suite.tasks, answer_limit(entry, 32, where))
            self._chats += suite.chats
        if not self._suites:
            raise VTBError("model.retention.text has no suite of type replies or word_problems: nothing has a score")
        self._base: dict[str, list[str]] = {}

    def measure(self) -> Retained:
        """Asks everything, without dropout; every rank takes part and gets the same."""
        with evaluating(self._model):
            return self._measured()

    def _measured(self) -> Retained:
        if not self._base:
            self._base = self._replies(tuned=False)
        tuned = self._replies(tuned=True)
        suites = {name: _compared(suite.tasks, tuned[name], self._base[name]) for name, suite in self._suites.items()}
        return Retained(suites, self._divergence())

    def _replies(self, tuned: bool) -> dict[str, list[str]]:
        with nullcontext() if tuned else self._model.backbone.without_lora():
            return {
                name: self._shared(
                    suite.tasks,
                    lambda part, limit=suite.limit: self._answered(part, limit),  # type: ignore[misc]
                )
                for name, suite in self._suites.items()
            }

    def _divergence(self) -> float | None:
        if not self._chats:
            return None
        rows = self._shared(self._chats, lambda part: text_likelihoods(self._model, self._dataset, part).tolist())
        tokens, divergence = (sum(row[column] for row in rows) for column in (0, 3))
        return divergence / max(1.0, tokens)

    def _shared(self, items: Sequence[Any], ask: Callable[[Sequence[Any]], list[Any]]) -> list[Any]:
        """Asks this rank's share and returns everybody's results, in the order of the items."""
        own = range(self._rank, len(items), self._ranks)
        # As many on every rank: sharded weights are gathered by all ranks or by none.
        most = -(-len(items) // self._ranks)
        places = [*own, *[0] * (most - len(own))]
        found = ask([items[place] for place in places])[: len(own)]
        told = all_ranks_list([json.dumps(pair) for pair in zip(own, found, strict=True)])
        placed = dict(json.loads(pair) for pair in told)
        return [placed[place] for place in range(len(items))]

    def _answered(self, tasks: Sequence[Task], limit: int) -> list[str]:
        model = self._model
        if _whole(model):
            return answer_tasks(model, self._dataset, tasks, limit, bar=tqdm(disable=True))
        stops = default_generation_config(model).eos_token_id
        replies: list[str] = []
        for start in range(0, len(tasks), _AT_ONCE):
            part = tasks[start : start + _AT_ONCE]
            asked = [merged_turns(task.conversation, model.audio_locator_tag)[:-1] for task in part]
            rows = [encode_turns(turns, model.formatter, for_generation=True).input_ids for turns in asked]
            nothing = {"audios": torch.zeros(0), "audio_lens": torch.zeros(0, dtype=torch.long)}
            given = prompt_embeddings(model, rows, nothing)
            written = greedy_replies(model.backbone, given.embeds, given.mask, limit, stops, given.ids)
            replies += [model.tokenizer.ids_to_text(ids).strip() for ids in written]
        return replies


def _whole(model: "VoiceTextBlender") -> bool:
    """Whether this rank can decode by itself: it has all of the LLM's weights."""
    from torch.distributed.tensor import DTensor

    return not model.backbone.tensor_parallel and not any(isinstance(one, DTensor) for one in model.llm.parameters())


def _compared(tasks: Sequence[Task], tuned: Sequence[str], base: Sequence[str]) -> dict[str, Any]:
    checks = [task.conversation.custom["check"] for task in tasks]
    right = {
        side: [follows(reply, check) for reply, check in zip(said, checks, strict=True)]
        for side, said in (("tuned", tuned), ("base", base))
    }
    drop = difference(shares(right["base"]), shares(right["tuned"]), Drawing())
    return {
        **{side: sum(marks) / len(marks) for side, marks in right.items()},
        "drop": drop["value"],
        "low": drop["low"],
        "high": drop["high"],
        "n": len(tasks),
        "lost": [
            {"id": task.conversation.id, "prompt": task.conversation.turns[0].value, "base": old, "tuned": new}
            for task, new, old, now, before in zip(tasks, tuned, base, right["tuned"], right["base"], strict=True)
            if before and not now
        ],
    }
