"""Scores of arms with intervals: the seeds of an arm and the items of a set are both drawn again.

Items are drawn alike for all arms, so that a difference of two arms is paired. Seeds are drawn for each arm on its own,
but alike for arms that ask the same weights another way.
With one seed there is nothing to draw from, and the interval is over items alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from nemo_vtb.evaluation.scoring.bootstrap import Drawing, Sums, estimate, interval, ratio


@dataclass(frozen=True)
class Sampled:
    """A score of an arm.

    Attributes:
        seeds: The score of each seed on all items.
        draws: Of the mean over drawn seeds on drawn items, ``(samples,)``.
        n: Items.
        weights: Number of the weights that were asked; arms with the same one are compared seed by seed.
        edge: The interval of a share that no draw can move, because all answers are right or none is.
    """

    seeds: tuple[float, ...]
    draws: np.ndarray
    n: int
    weights: int
    edge: tuple[float, float] | None = None

    @property
    def value(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.seeds))

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval."""
        return self.edge or interval(self.draws)

    def to_dict(self) -> dict[str, Any]:
        """``value``, ``low``, ``high``, ``n`` and ``seeds``."""
        low, high = self.interval
        return {"value": self.value, "low": low, "high": high, "n": self.n, "seeds": list(self.seeds)}


@dataclass(frozen=True)
class Difference:
    """One arm's score minus another's.

    Attributes:
        value: Of the means.
        low: End of the 95 % interval.
        high: The other end.
        seeds: How many each arm has.
        paired: Whether both arms ask the same weights.
        apart: Whether every seed of one arm is above every seed of the other; where they are paired, above its own
            counterpart. Of three seeds each, one ordering in twenty has the first arm above by chance.
    """

    value: float
    low: float
    high: float
    seeds: tuple[int, int]
    paired: bool
    apart: bool


def sampled(items: Sequence[np.ndarray], drawing: Drawing, weights: int, share: bool = True) -> Sampled:
    """Draws.

    Args:
        items: For each seed ``(n, 2)``: an amount and what it is out of, row by row the same items.
        drawing: Of the study; equal numbers of items are drawn alike.
        weights: See ``Sampled``; decides how seeds are drawn.
        share: Whether the score is a share of its items, so that 0 and 1 have an interval too.

    Raises:
        ValueError: If the seeds differ in their items.
    """
    if len({len(rows) for rows in items}) != 1:
        raise ValueError("the seeds of an arm were not asked the same")
    n = len(items[0])
    drawn = drawing.weights(n)
    by_seed = np.stack([ratio(drawn @ rows) for rows in items], axis=1)
    picks = np.random.default_rng([drawing.seed, weights]).integers(len(items), size=(drawing.samples, len(items)))
    draws = np.take_along_axis(by_seed, picks, axis=1).mean(axis=1)
    seeds = tuple(float(ratio(rows.sum(axis=0))) for rows in items)
    edge = None
    if share and draws.max() == draws.min() and draws[0] in (0.0, 1.0):
        found = estimate(Sums(items[0]), drawing)
        edge = (found["low"], found["high"])
    return Sampled(seeds, draws, n, weights, edge)


def mean(parts: Sequence[Sampled]) -> Sampled:
    """The mean of several scores of one arm."""
    seeds = np.mean([part.seeds for part in parts], axis=0)
    draws = np.mean([part.draws for part in parts], axis=0)
    return Sampled(tuple(seeds.tolist()), draws, sum(part.n for part in parts), parts[0].weights)


def less(one: Sampled, other: Sampled) -> Sampled:
    """One score of an arm minus another score of the same arm on as many items, seed by seed."""
    seeds = tuple(a - b for a, b in zip(one.seeds, other.seeds, strict=True))
    return Sampled(seeds, one.draws - other.draws, one.n, one.weights)


def complement(one: Sampled) -> Sampled:
    """1 minus a rate, at least 0: a word error rate as a share of words that are right."""
    seeds = tuple(max(0.0, 1 - seed) for seed in one.seeds)
    return Sampled(seeds, np.maximum(0.0, 1 - one.draws), one.n, one.weights)


def lost_share(one: Sampled, base: Sampled) -> Sampled:
    """The share of what a base can do that an arm cannot, below 0 where it can do more; both on the same items."""
    seeds = tuple(1 - seed / base.value if base.value else float("nan") for seed in one.seeds)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = np.where(base.draws > 0, 1 - one.draws / base.draws, np.nan)
    return Sampled(seeds, draws, one.n, one.weights)


def difference(one: Sampled, other: Sampled) -> Difference:
    """One arm minus another on the same items."""
    low, high = interval(one.draws - other.draws)
    counts = len(one.seeds), len(other.seeds)
    paired = one.weights == other.weights and counts[0] == counts[1]
    every = zip(one.seeds, other.seeds, strict=True) if paired else product(one.seeds, other.seeds)
    gaps = [a - b for a, b in every]
    return Difference(one.value - other.value, low, high, counts, paired, min(gaps) > 0 or max(gaps) < 0)
