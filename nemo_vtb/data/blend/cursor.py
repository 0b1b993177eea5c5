"""One source, row after row and epoch after epoch, each epoch in an order of its own."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from nemo_vtb.data.conversations.prompt_pool import stable_hash

# Rows of a source that are shuffled and looked up at a time.
BLOCK = 2048
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
    """The rows of one source in the order of each epoch, whatever the source's size.

    Args:
        source: What is walked.
        key: Names the orders; equal keys, equal orders.
    """

    def __init__(self, source: Source, key: int) -> None:
        self.source, self._key = source, key

    def block(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows ``(BLOCK or fewer,)`` of a block of an epoch, and their sizes ``(rows, 3)``."""
        rows = self._shuffled(epoch, number * BLOCK, BLOCK)
        return rows, self.source.sizes(rows, epoch)

    def sample(self) -> np.ndarray:
        """Mean lengths of a random part of the first epoch, as ``sizes`` gives them."""
        return self.source.sizes(self._shuffled(0, 0, _SAMPLED_ROWS), 0).mean(axis=0)

    def _shuffled(self, epoch: int, start: int, count: int) -> np.ndarray:
        from nemo_vtb.data.blend.shuffle import shuffled

        rows = len(self.source)
        return shuffled(np.arange(start, min(start + count, rows)), rows, stable_hash(self._key, epoch))


class Queue:
    """The next rows of all sources, a block of each at a time.

    Args:
        cursors: ``{kind: cursors}``.

    Attributes:
        heads: As ``fill`` takes them.
        names: Kind and number of each source.
    """

    def __init__(self, cursors: Mapping[str, Sequence[Cursor]]) -> None:
        from nemo_vtb.data.blend.fill import Heads

        self._cursors = [cursor for of_kind in cursors.values() for cursor in of_kind]
        self.names = [(kind, number) for kind, of_kind in cursors.items() for number in range(len(of_kind))]
        count = len(self._cursors)
        self.heads = Heads(
            np.zeros((count, BLOCK), dtype=np.int64),
            np.zeros((count, BLOCK, 3)),
            np.full(count, -1),
            np.zeros(count, dtype=np.int64),
            np.zeros(count, dtype=np.int64),
            np.array([cursor.source.weight for cursor in self._cursors], dtype=np.float64),
            np.cumsum([0, *(len(of_kind) for of_kind in cursors.values())]),
        )
        self._block = [-1] * count

    def turn_to(self, drawn: np.ndarray) -> None:
        """Moves every source behind so many conversations, as far as its block at hand reaches."""
        for source, (cursor, count) in enumerate(zip(self._cursors, drawn.tolist(), strict=True)):
            epoch, position = divmod(count, len(cursor.source))
            block, place = divmod(position, BLOCK)
            there = (int(self.heads.epoch[source]), self._block[source]) == (epoch, block)
            self.heads.place[source] = place if there else self.heads.loaded[source]

    def load(self, source: int, drawn: int) -> None:
        """Loads the block in which the conversation after ``drawn`` others is."""
        epoch, position = divmod(drawn, len(self._cursors[source].source))
        block, place = divmod(position, BLOCK)
        rows, sizes = self._cursors[source].block(epoch, block)
        self.heads.rows[source, : len(rows)], self.heads.sizes[source, : len(rows)] = rows, sizes
        self.heads.epoch[source], self._block[source] = epoch, block
        self.heads.place[source], self.heads.loaded[source] = place, len(rows)
