"""One source, row after row and epoch after epoch, each epoch in an order of its own."""

from typing import Any, Protocol

import numpy as np

from nemo_vtb.data.blend.shuffle import shuffled
from nemo_vtb.data.conversations.prompt_pool import stable_hash
from nemo_vtb.data.conversations.size import Size

_BLOCK = 512  # rows shuffled at a time
_SAMPLED_ROWS = 1 << 14


class Source(Protocol):
    """What a blend draws from; ``ConversationSource`` is one."""

    name: str
    weight: float

    def __len__(self) -> int:
        """Number of conversations."""

    @property
    def fingerprint(self) -> str:
        """Changes when its rows or their lengths do."""

    def draw(self, index: int, epoch: int) -> Any:
        """Returns a conversation as it is in an epoch."""

    def sizes(self, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Total and supervised length and seconds of audio, ``(rows, 3)``."""


class Cursor:
    """Walks one source; holds a few hundred rows at a time, whatever the source's size.

    Args:
        source: What is walked.
        key: Names the orders; equal keys, equal orders.
    """

    def __init__(self, source: Source, key: int) -> None:
        self._source, self._key = source, key
        self._loaded = (-1, -1)
        self._rows: list[int] = []
        self._sizes: list[list[float]] = []

    def at(self, drawn: int) -> tuple[int, int, Size]:
        """Row, epoch and size of the conversation that comes after ``drawn`` others."""
        epoch, position = divmod(drawn, len(self._source))
        block, place = divmod(position, _BLOCK)
        if self._loaded != (epoch, block):
            rows = self._shuffled(epoch, block * _BLOCK, _BLOCK)
            self._rows, self._sizes = rows.tolist(), self._source.sizes(rows, epoch).tolist()
            self._loaded = (epoch, block)
        total, supervised, seconds = self._sizes[place]
        return self._rows[place], epoch, Size(int(total), int(supervised), seconds)

    def sample(self) -> np.ndarray:
        """Mean lengths of a random part of the first epoch, as ``sizes`` gives them."""
        return self._source.sizes(self._shuffled(0, 0, _SAMPLED_ROWS), 0).mean(axis=0)

    def _shuffled(self, epoch: int, start: int, count: int) -> np.ndarray:
        rows = len(self._source)
        return shuffled(np.arange(start, min(start + count, rows)), rows, stable_hash(self._key, epoch))
