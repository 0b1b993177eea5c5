"""Chance by number: the same at every draw, wherever a walk begins, and on every rank."""

import numpy as np

# Philox makes so many at a time.
_BLOCK = 4


def chances(seed: int, first: int, count: int) -> np.ndarray:
    """Numbers between 0 and 1 for the draws ``first`` and those after it, from NumPy's Philox.

    Args:
        seed: Of the bit generator, at least 0.
        first: Number of the first draw.
        count: How many.

    Returns:
        float64 ``(count,)``, evenly distributed; 1 is not among them.
    """
    skipped = first % _BLOCK
    made = np.random.Philox(key=seed, counter=first // _BLOCK).random_raw(skipped + count)[skipped:]
    # As many bits as a float64 holds.
    return (made >> np.uint64(11)) * 2.0**-53
