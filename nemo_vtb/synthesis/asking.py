"""Asking an LLM, with what it took in a job's totals."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from nemo_vtb.inference.llms.interface import Reply, Sampling
from nemo_vtb.synthesis.jobs.shard import Shard

Prompt = TypeVar("Prompt")


def ask(
    llm: Callable[[Sequence[Prompt], Sequence[Sampling]], list[Reply]],
    prompts: Sequence[Prompt],
    sampling: Sequence[Sampling],
    shard: Shard,
) -> list[Reply]:
    """Returns the replies to prompts, and counts seconds, tokens, requests and retries.

    Args:
        llm: ``chat`` or ``complete`` of an ``LLM``.
        prompts: What it takes; none are not asked.
        sampling: Of each.
        shard: Counts.
    """
    if not prompts:
        return []
    started = time.monotonic()
    replies = llm(prompts, sampling)
    shard.count("llm_seconds", time.monotonic() - started)
    shard.count("llm_tokens", sum(reply.tokens for reply in replies))
    shard.count("requests", len(replies))
    shard.count("llm_retries", sum(reply.retries for reply in replies))
    return replies
