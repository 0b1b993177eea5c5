"""Asks the LLM every question once more, without the recording and with it: what it says tells unfit pairs."""

import json
from collections.abc import Sequence

from nemo_vtb.inference.llms.interface import LLM, Sampling
from nemo_vtb.inference.llms.untrusted import plain, quoted
from nemo_vtb.synthesis.asking import ask
from nemo_vtb.synthesis.jobs.shard import Shard
from nemo_vtb.synthesis.qa.filters import agree, words
from nemo_vtb.synthesis.qa.options import QAOptions
from nemo_vtb.synthesis.qa.prompts import Asked, Pair, load_check


class SecondPass:
    """Drops pairs that the LLM answers without the recording, or answers otherwise with it.

    Args:
        llm: Asked.
        options: How replies are drawn, and how much of a transcript is read.
    """

    def __init__(self, llm: LLM, options: QAOptions) -> None:
        self._llm, self._options, self._prompt = llm, options, load_check()

    def confirm(self, found: Sequence[tuple[Asked, list[Pair]]], shard: Shard) -> list[tuple[Asked, list[Pair]]]:
        """Returns what stays, and drops the rest with its reason; conversations end before their first unfit pair.

        Follow-up questions are not asked alone, as they mean nothing without the first.

        Args:
            found: Recordings with their pairs.
            shard: Counts.
        """
        checked = [(one, pair) for one, pairs in found for pair in (pairs[:1] if one.prompt.dialogue else pairs)]
        blind = self._answers([self._prompt.blind.replace("{question}", _safe(pair)) for _, pair in checked], shard)
        heard = self._answers(
            [
                f"{quoted(one.recorded.text, self._options.recording.characters)}\n"
                + self._prompt.heard.replace("{question}", _safe(pair))
                for one, pair in checked
            ],
            shard,
        )
        unfit = set()
        for (one, pair), without, with_it in zip(checked, blind, heard, strict=True):
            unknown = words(with_it) == words(self._prompt.unknown)
            if one.prompt.refusals:
                fault = None if unknown else "second_pass.answerable"
            elif agree(without, pair.answer):
                fault = "second_pass.known_without"
            else:
                fault = None if not unknown and agree(with_it, pair.answer) else "second_pass.unconfirmed"
            if fault:
                unfit.add((one.id, pair))
                shard.drop(f"{one.id}/{pair.question}", fault, f"{pair.answer} / {without} / {with_it}")
        return [
            (
                one,
                []
                if one.prompt.dialogue and (one.id, pairs[0]) in unfit
                else [pair for pair in pairs if (one.id, pair) not in unfit],
            )
            for one, pairs in found
            if pairs
        ]

    def _answers(self, asked: Sequence[str], shard: Shard) -> list[str]:
        how = Sampling(self._options.reply.tokens, schema=self._prompt.schema)
        replies = ask(
            self._llm.chat, [[{"role": "user", "content": text}] for text in asked], [how] * len(asked), shard
        )
        return [_answer(reply.text) for reply in replies]


def _safe(pair: Pair) -> str:
    """The question as it may stand in a prompt: an LLM wrote it that had read what others said."""
    return plain(pair.question, 400)


def _answer(text: str) -> str:
    try:
        return str(json.loads(text)["answer"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
