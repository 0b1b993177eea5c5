"""A blend walked without training: which conversations every rank would get, counted by kind and source."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, cast

import numpy as np

from nemo_vtb.data.blend.walk import Blend
from nemo_vtb.data.sources.source import ConversationSource

_COUNTED = ("examples", "audio_seconds", "supervised_tokens", "total_tokens")


@dataclass
class SimulatedDraws:
    """What a walk over some steps and ranks drew.

    Attributes:
        rows: Rows drawn, in their order, by kind and number of the source.
        work: LLM positions by step and rank.
        audio: Whether a batch has audio, by step and rank.
        turns: Steps by the kinds they held, for the unit ``steps``.
        asked: Share asked for, by kind, the mean over the steps.
    """

    rows: dict[tuple[str, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    work: list[list[int]] = field(default_factory=list)
    audio: list[list[bool]] = field(default_factory=list)
    turns: Counter[frozenset[str]] = field(default_factory=Counter)
    asked: dict[str, float] = field(default_factory=dict)

    def batches(self) -> dict[str, Any]:
        """Returns counts over batches and ranks."""
        ranks = [sum(step[rank] for step in self.work) for rank in range(len(self.work[0]))]
        return {
            "without_audio": sum(not has for step in self.audio for has in step),
            "rank_disagreements": sum(len(set(step)) > 1 for step in self.audio),
            "rank_imbalance": max(ranks) / fmean(ranks),
            "rank_imbalance_per_step": fmean(max(step) / fmean(step) for step in self.work),
            "mean_positions": fmean(map(fmean, self.work)),
        }


def sources_of(blend: Blend) -> dict[str, list[ConversationSource]]:
    """Returns the sources of a blend that was made from a config, which know more than a blend asks of them."""
    return cast(dict[str, list[ConversationSource]], blend.sources)


def simulate(blend: Blend, batch_tokens: int, steps: int, ranks: int, batches_per_step: int = 1) -> SimulatedDraws:
    """Walks a blend from its start; only its index is read.

    Args:
        blend: The blend.
        batch_tokens: LLM positions per rank and step.
        steps: Batches per rank.
        ranks: Data-parallel ranks.
        batches_per_step: Batches of one optimizer step, by which shares that change are looked up.
    """
    draws, state = SimulatedDraws(), blend.start()
    asked = [blend.shares.at(step // batches_per_step) for step in range(steps)]
    for _ in range(steps):
        batches = blend.step(state, batch_tokens, ranks)
        for batch in batches:
            for row in batch:
                draws.rows[row.kind, row.source].append(row.row)
        draws.work.append([sum(row.size.total for row in batch) for batch in batches])
        draws.audio.append([any(row.size.audio_seconds > 0 for row in batch) for batch in batches])
        draws.turns[frozenset(row.kind for batch in batches for row in batch)] += 1
    draws.asked = {kind: fmean(shares[kind] for shares in asked) for kind in blend.sources}
    return draws


def amounts(source: ConversationSource, rows: np.ndarray) -> dict[str, float]:
    """Returns conversations, audio seconds, supervised and total tokens of some rows of a source."""
    sizes = source.sizes(rows, 0)
    total, supervised, seconds = sizes.sum(axis=0).tolist()
    return dict(zip(_COUNTED, (len(rows), seconds, int(supervised), int(total)), strict=True))


def realised(blend: Blend, draws: SimulatedDraws) -> dict[str, dict[str, float]]:
    """Returns ``{unit: {kind: share}}``; ``steps`` is among the units where every step belongs to somebody."""
    by_kind: dict[str, Counter[str]] = {kind: Counter() for kind in blend.sources}
    for (kind, number), rows in draws.rows.items():
        by_kind[kind].update(amounts(sources_of(blend)[kind][number], np.array(rows, dtype=np.int64)))
    shares = {}
    for unit in _COUNTED:
        total = sum(counted[unit] for counted in by_kind.values())
        shares[unit] = {kind: counted[unit] / total if total else 0.0 for kind, counted in by_kind.items()}
    if blend.strategy == "alternate":
        steps: Counter[str] = Counter()
        owner = blend.turns
        for held, count in draws.turns.items():
            steps[owner[next(iter(held))]] += count
        within = Counter(dict.fromkeys(owner.values(), 0.0))
        for kind, turn in owner.items():
            within[turn] += by_kind[kind]["examples"]
        shares["steps"] = {
            kind: steps[turn] / steps.total() * (by_kind[kind]["examples"] / within[turn] if within[turn] else 0.0)
            for kind, turn in owner.items()
        }
    return shares
