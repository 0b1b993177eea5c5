"""Scores of arms with intervals over items and seeds.

Items are drawn again, alike for all arms, so that a difference of two arms is paired. Of seeds there are too few to
draw from: how far they lie apart is estimated for a measure from all arms together, and enters as Student's t has it.
Arms that ask the same weights another way are compared seed by seed instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import Any

import numpy as np

from nemo_vtb.evaluation.scoring.bootstrap import Drawing, Sums, estimate, interval, ratio

# Begins the draws of Student's t, so that they are not those of the items.
_STREAM = 1


@dataclass(frozen=True)
class Spread:
    """How far the seeds of an arm lie apart.

    Attributes:
        sd: Standard deviation of a score from one seed to the next, or its share of the score.
        freedom: Degrees of freedom of the estimate; 0 where no arm has two seeds and nothing is known.
        relative: Whether it is a share.
    """

    sd: float = 0.0
    freedom: int = 0
    relative: bool = False

    def at(self, value: float) -> "Spread":
        """Of an arm with such a score."""
        return Spread(self.sd * abs(value), self.freedom) if self.relative else self

    def noise(self, seeds: int, samples: int, stream: int) -> np.ndarray:
        """Draws of the mean of so many seeds around its expectation, ``(samples,)``; zeros where nothing is known."""
        if not self.freedom:
            return np.zeros(samples)
        drawn = np.random.default_rng([_STREAM, stream]).standard_t(self.freedom, samples)
        return self.sd / sqrt(seeds) * drawn


@dataclass(frozen=True)
class Sampled:
    """A score of an arm.

    Attributes:
        seeds: The score of each seed on all items.
        draws: Of each seed on drawn items, ``(samples, seeds)``.
        n: Items.
        weights: Number of the weights that were asked; arms with the same one are compared seed by seed.
        ids: Of the seeds.
        edge: The interval of a share that no draw can move, because all answers are right or none is.
        spread: Of seeds; None of the untouched LLM, which has none.
        most: What the score cannot exceed; ``least`` what it cannot fall below.
    """

    seeds: tuple[float, ...]
    draws: np.ndarray
    n: int
    weights: int
    ids: tuple[int, ...]
    edge: tuple[float, float] | None = None
    spread: Spread | None = None
    least: float = -inf
    most: float = inf

    @property
    def value(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(self.seeds))

    @property
    def around(self) -> np.ndarray:
        """Draws of the mean over seeds, of items and of seeds, ``(samples,)``."""
        items = self.draws.mean(axis=1)
        # What no item moves, e.g. a KL of exactly 0, no seed does.
        if self.spread is None or np.nanmin(items, initial=inf) == np.nanmax(items, initial=-inf):
            return items
        return items + self.spread.noise(len(self.seeds), len(items), self.weights)

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval."""
        if self.edge:
            return self.edge
        low, high = interval(self.around)
        return max(low, self.least), min(high, self.most)

    def to_dict(self) -> dict[str, Any]:
        """``value``, ``low``, ``high``, ``n`` and ``seeds``."""
        low, high = self.interval
        return {"value": self.value, "low": low, "high": high, "n": self.n, "seeds": list(self.seeds)}


@dataclass(frozen=True)
class Difference:
    """One arm's score minus another's.

    Attributes:
        value: Of the means; where arms are paired, over the seeds that both have.
        low: End of the 95 % interval.
        high: The other end.
        seeds: How many of each arm are in it; 0 of the untouched LLM.
        paired: Whether both arms ask the same weights.
        known: Whether anything is known of how seeds differ; where not, the interval is over items alone.
    """

    value: float
    low: float
    high: float
    seeds: tuple[int, int]
    paired: bool
    known: bool


def sampled(
    items: Sequence[np.ndarray],
    drawing: Drawing,
    weights: int,
    share: bool = True,
    ids: Sequence[int] | None = None,
    most: float = inf,
) -> Sampled:
    """Draws items.

    Args:
        items: For each seed ``(n, 2)``: an amount and what it is out of, row by row the same items.
        drawing: Of the study; equal numbers of items are drawn alike.
        weights: See ``Sampled``.
        share: Whether the score is a share of its items, so that 0 and 1 have an interval too.
        ids: Of the seeds; 0, 1, ... without.
        most: See ``Sampled``.

    Raises:
        ValueError: If the seeds differ in their items.
    """
    if len({len(rows) for rows in items}) != 1:
        raise ValueError("the seeds of an arm were not asked the same")
    n = len(items[0])
    drawn = drawing.weights(n)
    draws = np.stack([ratio(drawn @ rows) for rows in items], axis=1)
    seeds = tuple(float(ratio(rows.sum(axis=0))) for rows in items)
    edge = None
    if share and draws.max() == draws.min() and draws[0, 0] in (0.0, 1.0):
        found = estimate(Sums(items[0]), drawing)
        edge = (found["low"], found["high"])
    return Sampled(seeds, draws, n, weights, tuple(ids or range(len(items))), edge, least=0.0, most=most)


def spread_of(scores: Sequence[Sampled], relative: bool = False) -> Spread:
    """Of one measure, pooled over arms that were trained on their own.

    Args:
        scores: Of these arms.
        relative: Whether seeds lie apart by a share of the score.
    """
    several = [np.asarray(score.seeds) for score in scores if len(score.seeds) > 1 and (score.value or not relative)]
    scaled = [seeds / abs(seeds.mean()) if relative else seeds for seeds in several]
    freedom = sum(len(seeds) - 1 for seeds in scaled)
    squares = sum(float(np.var(seeds, ddof=1)) * (len(seeds) - 1) for seeds in scaled)
    return Spread(sqrt(squares / freedom), freedom, relative) if freedom else Spread()


def mean(parts: Sequence[Sampled]) -> Sampled:
    """The mean of several scores of one arm."""
    seeds = np.mean([part.seeds for part in parts], axis=0)
    draws = np.mean([part.draws for part in parts], axis=0)
    return replace(parts[0], seeds=tuple(seeds.tolist()), draws=draws, n=sum(p.n for p in parts), edge=None, most=1.0)


def less(one: Sampled, other: Sampled) -> Sampled:
    """One score of an arm minus another score of the same arm on as many items, seed by seed."""
    seeds = tuple(a - b for a, b in zip(one.seeds, other.seeds, strict=True))
    return replace(one, seeds=seeds, draws=one.draws - other.draws, edge=None, least=-inf)


def complement(one: Sampled) -> Sampled:
    """1 minus a rate, at least 0: a word error rate as a share of words that are right."""
    seeds = tuple(max(0.0, 1 - seed) for seed in one.seeds)
    return replace(one, seeds=seeds, draws=np.maximum(0.0, 1 - one.draws), edge=None, most=1.0)


def lost_share(one: Sampled, base: Sampled) -> Sampled:
    """The share of what a base can do that an arm cannot, below 0 where it can do more; both on the same items."""
    seeds = tuple(1 - seed / base.value if base.value else float("nan") for seed in one.seeds)
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = np.where(base.draws > 0, 1 - one.draws / base.draws, np.nan)
    return replace(one, seeds=seeds, draws=draws, edge=None, least=-inf, most=1.0)


def difference(one: Sampled, other: Sampled) -> Difference:
    """One arm minus another on the same items."""
    shared = [seed for seed in one.ids if seed in other.ids] if one.weights == other.weights else []
    if shared:
        return _paired(one, other, shared)
    low, high = interval(one.around - other.around)
    known = all(score.spread.freedom for score in (one, other) if score.spread is not None)
    one_seeds, other_seeds = (len(score.seeds) if score.spread is not None else 0 for score in (one, other))
    return Difference(one.value - other.value, low, high, (one_seeds, other_seeds), False, known)


def _paired(one: Sampled, other: Sampled, shared: Sequence[int]) -> Difference:
    ours, theirs = ([score.ids.index(seed) for seed in shared] for score in (one, other))
    gaps = np.asarray(one.seeds)[ours] - np.asarray(other.seeds)[theirs]
    items = (one.draws[:, ours] - other.draws[:, theirs]).mean(axis=1)
    spread = Spread(float(gaps.std(ddof=1)), len(gaps) - 1) if len(gaps) > 1 else Spread()
    low, high = interval(items + spread.noise(len(gaps), len(items), one.weights))
    # With one seed too: what training draws is the same on both sides.
    return Difference(float(gaps.mean()), low, high, (len(gaps), len(gaps)), True, True)
