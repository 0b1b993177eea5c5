"""A global shuffle without a list: position in an epoch to row, for any number of rows, in constant memory.

A Feistel network over the next power of four, walked until it lands inside the range, is a permutation. A list per
epoch would cost four bytes a row in every worker and a sort at every resume, and NumPy does not promise that its own
``permutation`` stays the same from release to release, on which an exact resume would hang.
"""

import numpy as np

from nemo_vtb.data.blend.compiled import compiled

_ROUNDS = 8
# Up to so many rows, sorting them by a hash is cheaper than walking, and every order is equally likely.
_SORTED_ROWS = 1024


def shuffled(positions: np.ndarray, rows: int, key: int) -> np.ndarray:
    """Returns the rows at some positions of the permutation that ``key`` names.

    Args:
        positions: int64, each from 0 to ``rows - 1``.
        rows: Length of the permutation.
        key: Any 64-bit number, e.g. a hash of seed, source and epoch.

    Returns:
        int64, shape of ``positions``.
    """
    if rows <= _SORTED_ROWS:
        return np.argsort(
            _mix(np.arange(rows, dtype=np.uint64) + _mix(np.array([key], dtype=np.uint64))), kind="stable"
        )[positions]
    half = ((rows - 1).bit_length() + 1) // 2
    keys = np.array([(key + number * 0x9E3779B97F4A7C15) % (1 << 64) for number in range(_ROUNDS)], dtype=np.uint64)
    return _walked(positions.astype(np.uint64), np.uint64(rows), np.uint64(half), keys).astype(np.int64)


@compiled
def _walked(positions: np.ndarray, rows: np.uint64, half: np.uint64, keys: np.ndarray) -> np.ndarray:
    mask = (np.uint64(1) << half) - np.uint64(1)
    found = np.empty_like(positions)
    for index in range(len(positions)):
        value = positions[index]
        while True:
            left, right = value >> half, value & mask
            for key in keys:
                left, right = right, left ^ (_mix(right + key) & mask)
            value = (left << half) | right
            if value < rows:
                break
        found[index] = value
    return found


@compiled
def _mix(values: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
