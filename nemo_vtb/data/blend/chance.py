"""Exponential variables by seed, number and kind, as ``stable_hash`` draws them, many at a time.

At 1,024 ranks the strategy ``mixed`` asks for hundreds of thousands of hashes a step in every worker; one call of
Python for each would cost half a second. What is hashed is one block of BLAKE2b (RFC 7693), compiled here.
"""

from collections.abc import Sequence
from math import log

import numpy as np

from nemo_vtb.data.blend.compiled import compiled
from nemo_vtb.data.conversations.prompt_pool import stable_hash

_BLOCK = 128
# What a number may take of it, and what separates it from seed and kind.
_NUMBER = 22
_MOST = np.uint64(2**64 - 1)
_START = np.array(
    [
        0x6A09E667F3BCC908,
        0xBB67AE8584CAA73B,
        0x3C6EF372FE94F82B,
        0xA54FF53A5F1D36F1,
        0x510E527FADE682D1,
        0x9B05688C2B3E6C1F,
        0x1F83D9ABFB41BD6B,
        0x5BE0CD19137E2179,
    ],
    dtype=np.uint64,
)
# Which word of the message comes when, in hexadecimal; after ten rounds the first two come again.
_ROUNDS = """
    0123456789abcdef ea489fd61c02b753 b8c052fdae367194 7931dcbe265a40f8 905724afe1bc683d
    2c6a0b834d75fe19 c51fed4a0763928b db7ec13950f4862a 6fe9b308c2d714a5 a2847615fb9e3cd0
"""
_ORDER = np.array([[int(word, 16) for word in row] for row in _ROUNDS.split()], dtype=np.int64)


def exponentials(seed: int, first: int, count: int, kinds: Sequence[str]) -> np.ndarray:
    """Exponential variables of rate 1 for the draws ``first`` and those after it.

    Args:
        seed: The blend's.
        first: Number of the first draw.
        count: How many.
        kinds: By name.

    Returns:
        float64 ``(count, kinds)``.
    """
    before = f"{seed}\x1f".encode()
    behind = [f"\x1f{kind}".encode() for kind in kinds]
    if len(before) + _NUMBER + max(map(len, behind)) > _BLOCK:
        hashed = np.array([[stable_hash(seed, first + i, kind) for kind in kinds] for i in range(count)], np.uint64)
    else:
        ends = np.cumsum([0, *map(len, behind)])
        start, end = (np.frombuffer(text, dtype=np.uint8) for text in (before, b"".join(behind)))
        hashed = _hashed(first, count, start, end, ends)
    shares = np.where(hashed == _MOST, 2.0**64, (hashed + np.uint64(1)).astype(np.float64)) / 2.0**64
    # NumPy's logarithm may round another way, and with it the order of all that follows.
    return -np.array(list(map(log, shares.ravel().tolist()))).reshape(hashed.shape)


@compiled
def _hashed(first: int, count: int, before: np.ndarray, behind: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The first 64 bits of each digest, as a number of which they are the big-endian bytes."""
    found: np.ndarray = np.empty((count, len(ends) - 1), dtype=np.uint64)
    text: np.ndarray = np.zeros(128, dtype=np.uint8)
    text[: len(before)] = before
    digits: np.ndarray = np.empty(20, dtype=np.uint8)
    message: np.ndarray = np.empty(16, dtype=np.uint64)
    v: np.ndarray = np.empty(16, dtype=np.uint64)
    for draw in range(count):
        number, written = first + draw, 0
        while number > 0 or written == 0:
            digits[written] = 48 + number % 10
            number //= 10
            written += 1
        start = len(before) + written
        for place in range(written):
            text[len(before) + place] = digits[written - 1 - place]
        for kind in range(len(ends) - 1):
            size = start + ends[kind + 1] - ends[kind]
            for place in range(start, size):
                text[place] = behind[ends[kind] + place - start]
            found[draw, kind] = _digest(text, size, message, v)
    return found


@compiled
def _digest(text: np.ndarray, size: int, message: np.ndarray, v: np.ndarray) -> np.uint64:
    message[:] = np.uint64(0)
    for place in range(size):
        message[place >> 3] |= np.uint64(text[place]) << np.uint64(8 * (place & 7))
    for place in range(8):
        v[place] = v[place + 8] = _START[place]
    # A digest of eight bytes, no key; the last block, so many bytes.
    begun = _START[0] ^ np.uint64(0x01010008)
    v[0] = begun
    v[12] ^= np.uint64(size)
    v[14] = ~v[14]
    for number in range(12):
        order = _ORDER[number % 10]
        # Four columns, then four diagonals.
        _mix(v, 0, 4, 8, 12, message[order[0]], message[order[1]])
        _mix(v, 1, 5, 9, 13, message[order[2]], message[order[3]])
        _mix(v, 2, 6, 10, 14, message[order[4]], message[order[5]])
        _mix(v, 3, 7, 11, 15, message[order[6]], message[order[7]])
        _mix(v, 0, 5, 10, 15, message[order[8]], message[order[9]])
        _mix(v, 1, 6, 11, 12, message[order[10]], message[order[11]])
        _mix(v, 2, 7, 8, 13, message[order[12]], message[order[13]])
        _mix(v, 3, 4, 9, 14, message[order[14]], message[order[15]])
    word = begun ^ v[0] ^ v[8]
    turned = np.uint64(0)
    for place in range(8):
        turned = (turned << np.uint64(8)) | ((word >> np.uint64(8 * place)) & np.uint64(255))
    return turned


@compiled
def _mix(v: np.ndarray, a: int, b: int, c: int, d: int, x: np.uint64, y: np.uint64) -> None:
    v[a] += v[b] + x
    v[d] = _turned(v[d] ^ v[a], np.uint64(32))
    v[c] += v[d]
    v[b] = _turned(v[b] ^ v[c], np.uint64(24))
    v[a] += v[b] + y
    v[d] = _turned(v[d] ^ v[a], np.uint64(16))
    v[c] += v[d]
    v[b] = _turned(v[b] ^ v[c], np.uint64(63))


@compiled
def _turned(value: np.uint64, bits: np.uint64) -> np.uint64:
    return (value >> bits) | (value << (np.uint64(64) - bits))
