"""A recording that is being asked about, and how an LLM is asked."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from nemo_vtb.inference.llms.interface import LLM, Reply, Sampling
from nemo_vtb.synthesis.jobs.shard import Shard
from nemo_vtb.synthesis.llm_counts import count_replies
from nemo_vtb.synthesis.qa.prompts import QAPrompt
from nemo_vtb.synthesis.qa.recordings import Recorded


@dataclass
class Asked:
    """A recording in the making of its questions."""

    id: str
    recorded: Recorded
    prompt: QAPrompt
    language: str
    rng: Random


def ask(
    llm: LLM, conversations: Sequence[list[dict[str, str]]], sampling: Sequence[Sampling], shard: Shard
) -> list[Reply]:
    """Asks an LLM and counts what it took."""
    if not conversations:
        return []
    started = time.monotonic()
    replies = llm.chat(conversations, sampling)
    count_replies(replies, started, shard)
    return replies
