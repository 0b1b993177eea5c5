"""Writes a shard of replay conversations: all of its user turns at a time, then all answers, then the next turns."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import nemo_vtb
from nemo_vtb.inference.llms.chat_frame import ChatFrame
from nemo_vtb.inference.llms.interface import LLM, Reply, Sampling
from nemo_vtb.synthesis.asking import ask
from nemo_vtb.synthesis.jobs.shard import CONVERSATIONS, HELD_OUT, Item, Shard
from nemo_vtb.synthesis.replay.near_duplicates import words_of
from nemo_vtb.synthesis.replay.options import ReplayOptions, Side
from nemo_vtb.synthesis.replay.prompts import ReplayPrompts
from nemo_vtb.synthesis.turn_filters import text_fault

_SENTENCE_END = re.compile(r"[?\n]|[.!](?=\s)")


@dataclass
class _Draft:
    """A conversation in the making; ``request`` ends its last user turn, and is none of the LLM's words."""

    id: str
    rng: Random
    category: str
    planned: int
    history: list[tuple[str, str]] = field(default_factory=list)
    user: str = ""
    request: str = ""
    first_request: str = ""


class ReplayMaker:
    """A maker of shards; see ``Job``.

    Args:
        llm: Writes both sides.
        tokenizer: A Hugging Face tokenizer with the LLM's chat template; also counts tokens.
        prompts: What user turns are written after.
        options: How conversations are drawn and kept.
        seed: Of the job. All of a conversation's chance follows from it and from the item's id.

    Raises:
        VTBError: If the chat template cannot be cut after a header.
    """

    def __init__(self, llm: LLM, tokenizer: Any, prompts: ReplayPrompts, options: ReplayOptions, seed: int) -> None:
        self._llm, self._tokenizer, self._prompts, self._options = llm, tokenizer, prompts, options
        self._seed = seed
        self._frame = ChatFrame.from_tokenizer(tokenizer)
        # What begins every text is put there by the back end.
        self._asked = replace(self._frame, begin="")

    def __call__(self, items: Sequence[Item], shard: Shard) -> None:
        """Writes the conversations of a shard.

        One whose later exchange is unfit keeps the exchanges before it; one whose first is unfit is dropped.
        """
        drafts = [self._begin(item.id) for item in items]
        going = drafts
        for exchange in range(len(self._options.exchanges)):
            going = self._with_user_turn([draft for draft in going if draft.planned > exchange], shard)
            if exchange == 0 and self._prompts.classify:
                going = self._of_a_wanted_category(going, shard)
            going = self._with_answer(going, shard)
        for draft in drafts:
            if draft.history:
                held_out = Random(f"{draft.id}/held out").random() < self._options.held_out
                shard.add(self._row(draft), HELD_OUT if held_out else CONVERSATIONS)
                shard.observe("conversation_tokens", self._length(self._frame.render(draft.history)))

    def _begin(self, name: str) -> _Draft:
        rng = Random(f"{self._seed}/{name}")
        exchanges = self._options.exchanges
        category = rng.choice(self._options.categories)
        return _Draft(name, rng, category, rng.choices(range(1, len(exchanges) + 1), exchanges)[0])

    def _with_user_turn(self, drafts: Sequence[_Draft], shard: Shard) -> list[_Draft]:
        prompts, openings = self._prompts, []
        for draft in drafts:
            known = prompts.follow_ups if draft.history else prompts.openings.get(draft.category, [])
            openings.append(draft.rng.choice(known) if known else "")
        queries = [
            self._asked.user_query(draft.history, (prompts.system or "").replace("{category}", draft.category))
            + opening
            for draft, opening in zip(drafts, openings, strict=True)
        ]
        # Templates whose user turns do not end in a special token go on with what opens the answer.
        stop = (self._frame.answer_open.strip(), *(["\n"] if prompts.one_sentence else []))
        fit = []
        for draft, opening, reply in zip(
            drafts, openings, self._write(queries, drafts, self._options.user, shard, stop), strict=True
        ):
            text, finished = reply.text.rstrip(), reply.finished
            if prompts.one_sentence and (end := _SENTENCE_END.search(reply.text)):
                text, finished = reply.text[: end.end()].rstrip(), True
            text = text if opening else text.lstrip()
            asked = opening + text
            fault = self._user_fault(text, asked, finished, draft)
            if fault:
                self._drop(draft, f"user.{fault}", asked, shard)
                continue
            requests = prompts.requests
            draft.request = draft.rng.choices(list(requests), list(requests.values()))[0] if requests else ""
            draft.request = f" {draft.request}" if draft.request else ""
            draft.user = asked + draft.request
            shard.observe("user_tokens", self._length(draft.user))
            fit.append(draft)
        return fit

    def _user_fault(self, text: str, asked: str, finished: bool, draft: _Draft) -> str | None:
        if not finished:
            return "too_long"
        if self._length(text) < self._options.user.tokens[0]:
            return "too_short"
        if self._prompts.one_sentence and not asked.endswith(("?", ".", "!", '"')):
            return "layout"
        if words_of(asked) in [words_of(user) for user, _ in draft.history]:
            return "repeats_itself"
        return text_fault(asked, self._options.language)

    def _of_a_wanted_category(self, drafts: Sequence[_Draft], shard: Shard) -> list[_Draft]:
        assert self._prompts.classify is not None
        labels = self._prompts.labels
        schema = {
            "type": "object",
            "properties": {"kind": {"type": "string", "enum": labels}},
            "required": ["kind"],
            "additionalProperties": False,
        }
        how = Sampling(max_tokens=32, schema=schema)
        asked = [self._prompts.classify.replace("{text}", draft.user) for draft in drafts]
        chats = [[{"role": "user", "content": text}] for text in asked]
        replies = ask(self._llm.chat, chats, [how] * len(asked), shard)
        fit = []
        for draft, reply in zip(drafts, replies, strict=True):
            try:
                draft.category = str(json.loads(reply.text)["kind"])
            except (ValueError, KeyError, TypeError):
                draft.category = f"no category: {reply.text}"
            if draft.category in self._options.categories:
                fit.append(draft)
            else:
                self._drop(draft, "user.category", f"{draft.category}: {draft.user}", shard)
        return fit

    def _with_answer(self, drafts: Sequence[_Draft], shard: Shard) -> list[_Draft]:
        queries = [self._asked.answer_query(draft.history, draft.user) for draft in drafts]
        fit = []
        for draft, reply in zip(drafts, self._write(queries, drafts, self._options.answer, shard, ()), strict=True):
            answer = reply.text.strip()
            longer = [*draft.history, (draft.user, answer)]
            fault = self._answer_fault(answer, reply.finished, draft)
            if not fault and self._length(self._frame.render(longer)) > self._options.conversation_tokens:
                fault = "conversation_too_long"
            if fault:
                self._drop(draft, f"answer.{fault}", answer, shard)
                continue
            if not draft.history:
                draft.first_request = draft.request
            draft.history = longer
            shard.observe("answer_tokens", self._length(answer))
            fit.append(draft)
        return fit

    def _answer_fault(self, answer: str, finished: bool, draft: _Draft) -> str | None:
        if not finished:
            return "truncated"
        if self._length(answer) < self._options.answer.tokens[0]:
            return "too_short"
        words = words_of(answer)
        if words == words_of(draft.user):
            return "echo"
        if words in [words_of(earlier) for _, earlier in draft.history]:
            return "repeats_itself"
        return text_fault(answer, self._options.language)

    def _write(
        self, queries: Sequence[str], drafts: Sequence[_Draft], side: Side, shard: Shard, stop: tuple[str, ...]
    ) -> list[Reply]:
        how = [
            Sampling(side.tokens[1], side.temperature, side.top_p, draft.rng.getrandbits(31), stop) for draft in drafts
        ]
        return ask(self._llm.complete, queries, how, shard)

    def _drop(self, draft: _Draft, reason: str, text: str, shard: Shard) -> None:
        # Later exchanges are parts of an item that stays.
        shard.drop(f"{draft.id}/{len(draft.history) + 1}" if draft.history else draft.id, reason, text)

    def _length(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False))

    def _row(self, draft: _Draft) -> dict[str, Any]:
        turns = [
            {"from": role, "type": "text", "value": text}
            for exchange in draft.history
            for role, text in zip(("User", "Assistant"), exchange, strict=True)
        ]
        custom = {
            "kind": "text",
            "lang": self._options.language,
            "category": draft.category,
            "model": self._llm.name,
            "prompt_version": self._prompts.version,
            "seed": self._seed,
            "nemo_vtb": nemo_vtb.__version__,
            **({"request": draft.first_request} if draft.first_request else {}),
        }
        return {"id": draft.id, "conversations": turns, "custom": custom}
