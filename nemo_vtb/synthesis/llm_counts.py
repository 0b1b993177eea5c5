"""What asking an LLM took, for a job's totals."""

import time
from collections.abc import Sequence

from nemo_vtb.inference.llms.interface import Reply
from nemo_vtb.synthesis.jobs.shard import Shard


def count_replies(replies: Sequence[Reply], started: float, shard: Shard) -> None:
    """Notes time, tokens, requests and retries of replies.

    Args:
        replies: Of one call.
        started: When it began, by ``time.monotonic``.
        shard: Counts.
    """
    shard.count("llm_seconds", time.monotonic() - started)
    shard.count("llm_tokens", sum(reply.tokens for reply in replies))
    shard.count("requests", len(replies))
    shard.count("llm_retries", sum(reply.retries for reply in replies))
