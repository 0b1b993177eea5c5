"""The inner loop of the walk, compiled: at 1,024 ranks a step draws tens of thousands of conversations in each worker.

The blend gives it arrays and takes arrays back; it stops where a source has to load its next rows.
"""

from typing import NamedTuple

import numpy as np

from nemo_vtb.data.blend.compiled import compiled

DONE, FULL = -1, -2
# Of a kind that is ahead of its share, where nothing else fits.
_SELDOM = 1e-9


class Heads(NamedTuple):
    """The next rows of every source, sources of a kind side by side.

    Attributes:
        rows: int64 ``(sources, block)``.
        sizes: float64 ``(sources, block, 3)``: LLM positions, supervised tokens, seconds of audio.
        epoch: int64 ``(sources,)``.
        place: int64 ``(sources,)``, which of them comes next.
        loaded: int64 ``(sources,)``, how many there are.
        weight: float64 ``(sources,)``.
        first: int64 ``(kinds + 1,)``, where the sources of each kind begin.
    """

    rows: np.ndarray
    sizes: np.ndarray
    epoch: np.ndarray
    place: np.ndarray
    loaded: np.ndarray
    weight: np.ndarray
    first: np.ndarray


class Counts(NamedTuple):
    """What was drawn so far: the walk's state as arrays.

    Attributes:
        drawn: int64 ``(sources,)``.
        amounts: float64 ``(sources, 3)``: supervised tokens, LLM positions, seconds of audio.
        owed: float64 ``(kinds,)``.
        unit: What a share is a share of: the column of ``amounts``, or -1 for conversations.
    """

    drawn: np.ndarray
    amounts: np.ndarray
    owed: np.ndarray
    unit: int


class Rule(NamedTuple):
    """How batches are filled.

    Attributes:
        share: float64 ``(kinds,)``, -1 for a kind that takes no part.
        mean: float64 ``(kinds,)``, mean units of a conversation.
        worth: Units in a batch.
        budget: LLM positions of a batch.
        batches: How many.
        single: Batches of one conversation each, whatever its length.
    """

    share: np.ndarray
    mean: np.ndarray
    worth: float
    budget: int
    batches: int
    single: bool


@compiled
def fill(
    heads: Heads, counts: Counts, rule: Rule, chance: np.ndarray, at: np.ndarray, taken: np.ndarray, sizes: np.ndarray
) -> int:
    """Fills batches until they are done, a source needs its next rows, or there is no room for what was drawn.

    Args:
        heads: The next rows; ``place`` moves on.
        counts: Moves on.
        rule: What batches are like.
        chance: float64 ``(room,)``, between 0 and 1: what chooses at each draw, a kind being as likely as it is owed
            conversations; ``(0,)``: whoever is owed most comes first.
        at: int64 ``(4,)``: batch, positions left in it, conversations in it, conversations drawn in this call and
            written to ``taken`` and ``sizes``. Set it to ``(0, budget, 0, 0)`` before the first call; the last entry is
            the caller's to set back.
        taken: int64 ``(room, 4)``: batch, source, row, epoch.
        sizes: float64 ``(room, 3)``, as in ``heads``.

    Returns:
        The source that needs rows, ``DONE`` or ``FULL``.
    """
    kinds = len(rule.share)
    head: np.ndarray = np.zeros(kinds, dtype=np.int64)
    rate: np.ndarray = np.zeros(kinds)
    while at[0] < rule.batches:
        for kind in range(kinds):
            if rule.share[kind] > 0:
                best = int(heads.first[kind])
                for source in range(best + 1, int(heads.first[kind + 1])):
                    ahead = (counts.drawn[source] + 0.5) / heads.weight[source]
                    if ahead < (counts.drawn[best] + 0.5) / heads.weight[best]:
                        best = source
                head[kind] = best
                if heads.place[best] == heads.loaded[best]:
                    return best
        drawn = at[3]
        if drawn == len(taken):
            return FULL
        chosen, most, sum_of_rates = -1, 0.0, 0.0
        for kind in range(kinds):
            share, owed = rule.share[kind], counts.owed[kind]
            if share <= 0:
                continue
            total = heads.sizes[head[kind], heads.place[head[kind]], 0]
            if at[2] > 0 and not (total <= at[1] and owed > -share * rule.worth):
                continue
            if len(chance):
                rate[kind] = max(owed + share * rule.worth, 0.0) / rule.mean[kind] + _SELDOM
                sum_of_rates += rate[kind]
            elif chosen < 0 or owed + share > most:
                chosen, most = kind, owed + share
        if sum_of_rates > 0:
            left = chance[drawn] * sum_of_rates
            for kind in range(kinds):
                if rate[kind] > 0 and left >= 0:
                    chosen, left = kind, left - rate[kind]
                rate[kind] = 0.0
        if chosen < 0:
            at[0] += 1
            at[1], at[2] = rule.budget, 0
            continue
        source = int(head[chosen])
        place = int(heads.place[source])
        total, supervised, seconds = heads.sizes[source, place]
        taken[drawn, 0], taken[drawn, 1] = at[0], source
        taken[drawn, 2], taken[drawn, 3] = heads.rows[source, place], heads.epoch[source]
        sizes[drawn, 0], sizes[drawn, 1], sizes[drawn, 2] = total, supervised, seconds
        heads.place[source] += 1
        counts.drawn[source] += 1
        counts.amounts[source, 0] += supervised
        counts.amounts[source, 1] += total
        counts.amounts[source, 2] += seconds
        units = 1.0 if counts.unit < 0 else sizes[drawn, 1 - counts.unit]
        for kind in range(kinds):
            if rule.share[kind] >= 0:
                counts.owed[kind] += rule.share[kind] * units
        counts.owed[chosen] -= units
        at[1] -= np.int64(total)
        at[2] += 1
        at[3] += 1
        if rule.single:
            at[0] += 1
            at[1], at[2] = rule.budget, 0
    return DONE
