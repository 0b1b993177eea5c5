"""Intervals by bootstrap: items are drawn again with replacement, and the score is computed from what was drawn.

Every score here is made of sums over items (edits and words, matches and lengths), so an item is a row of such numbers
and a redrawn test set is a weighted sum of rows. Koehn 2004 (W04-3250) for translation, Bisani and Ney 2004 for word
error rates.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_LEVEL = 0.95
# The normal quantile of the level, for shares that are 0 or 1.
_Z = 1.959964


def ratio(sums: np.ndarray) -> np.ndarray:
    """First column over second ``(..., 2)``; NaN where the second is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan)


def rate(sums: np.ndarray) -> np.ndarray:
    """As ``ratio``, of what is no share: 0 or 1 is a value like any other, and certain where all items agree on it."""
    return ratio(sums)


@dataclass(frozen=True)
class Sums:
    """A score as sums over items.

    Attributes:
        items: float64 ``(n, k)``, one row per utterance, answer or conversation.
        score: Sums ``(..., k)`` to scores ``(...)``.
    """

    items: np.ndarray
    score: Callable[[np.ndarray], np.ndarray] = ratio

    @property
    def value(self) -> float:
        """The score of all items."""
        return float(self.score(self.items.sum(axis=0)))


@dataclass(frozen=True)
class Drawing:
    """How test sets are drawn again.

    Attributes:
        samples: How many.
        seed: Equal seeds draw equal sets, so that two systems are compared on the same ones.
    """

    samples: int = 1000
    seed: int = 0

    def weights(self, n: int) -> np.ndarray:
        """How often each of ``n`` items is in each drawn set, ``(samples, n)``."""
        return np.random.default_rng(self.seed).multinomial(n, np.full(n, 1 / n), size=self.samples).astype(np.float64)


def shares(right: Sequence[bool | float]) -> Sums:
    """The mean of one number per item."""
    values = np.asarray(right, dtype=np.float64)
    return Sums(np.stack([values, np.ones_like(values)], axis=1))


def means(values: Sequence[float]) -> Sums:
    """The mean of one number per item that is no share: where all are 0 or all 1, its interval is that point."""
    return Sums(shares(values).items, rate)


def clustered(sums: Sums, owners: Sequence[Hashable]) -> Sums:
    """Items that belong together, as the turns of a conversation do, drawn together.

    Args:
        sums: A row per item.
        owners: Whose it is, one per row.
    """
    places = {owner: place for place, owner in enumerate(dict.fromkeys(owners))}
    items = np.zeros((len(places), sums.items.shape[1]))
    np.add.at(items, [places[owner] for owner in owners], sums.items)
    return Sums(items, sums.score)


def estimate(sums: Sums, drawing: Drawing, n: int | None = None) -> dict[str, Any]:
    """A score with its 95 % percentile interval.

    Where every item of a share is right, or none is, all drawn sets are alike; Wilson's interval stands in there.

    Args:
        sums: The score.
        drawing: How sets are drawn.
        n: What to give as the number of items, where rows are clusters.

    Returns:
        ``value``, ``low``, ``high`` and ``n``; NaN where there are no items.
    """
    count = len(sums.items)
    if not count:
        return {"value": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    low, high = _wilson(sums) or interval(sums.score(drawing.weights(count) @ sums.items))
    return {"value": sums.value, "low": low, "high": high, "n": n or count}


def difference(one: Sums, other: Sums, drawing: Drawing, n: int | None = None) -> dict[str, Any]:
    """``one`` minus ``other`` on the same items, with its 95 % interval from sets drawn for both alike.

    Raises:
        ValueError: If they differ in their number of items.
    """
    count = len(one.items)
    if count != len(other.items):
        raise ValueError(f"paired scores need the same items, not {count} and {len(other.items)}")
    if not count:
        return estimate(one, drawing)
    weights = drawing.weights(count)
    low, high = interval(one.score(weights @ one.items) - other.score(weights @ other.items))
    return {"value": one.value - other.value, "low": low, "high": high, "n": n or count}


def beside(tuned: Sums, base: Sums, drawing: Drawing, n: int | None = None) -> dict[str, Any]:
    """A score with the untouched LLM's under ``base`` and the difference to it under ``change``."""
    change = difference(tuned, base, drawing, n)
    return {**estimate(tuned, drawing, n), "base": estimate(base, drawing, n), "change": change}


def interval(scores: np.ndarray) -> tuple[float, float]:
    """Ends of the 95 % interval of a score from its values on the drawn sets; NaN is left out."""
    tail = 100 * (1 - _LEVEL) / 2
    low, high = np.nanpercentile(scores, [tail, 100 - tail])
    return float(low), float(high)


def _wilson(sums: Sums) -> tuple[float, float] | None:
    """The interval of a share that is exactly 0 or 1, None for any other score.

    Rows are counted and not what they are out of: the turns of a conversation are not drawn on their own.
    """
    if sums.score is not ratio or not (sums.items[:, 1] >= 1).all():
        return None
    whole = (sums.items[:, 0] == sums.items[:, 1]).all()
    if not whole and sums.items[:, 0].any():
        return None
    edge = _Z**2 / (len(sums.items) + _Z**2)
    return (float(1 - edge), 1.0) if whole else (0.0, float(edge))
