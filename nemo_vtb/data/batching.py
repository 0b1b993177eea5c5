"""Held-out data in batches: every conversation once, as many batches for every rank."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch.utils.data import Dataset

from nemo_vtb.data.conversations.unscored import unscored

if TYPE_CHECKING:
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.data.sources.source import ConversationSource


class HeldOutBatches(Dataset):
    """Every conversation of some sources once, in batches by length, as many batches for every rank.

    Sharded models need the same number of forward passes on every rank, so the last ones may be batches of which
    nothing is measured.

    Args:
        sources: What is held out.
        dataset: Makes the batches.
        budget: LLM positions per batch.
        ranks: The number of batches is a multiple of this.
    """

    def __init__(
        self, sources: Sequence["ConversationSource"], dataset: "VTBDataset", budget: int, ranks: int = 1
    ) -> None:
        self._sources, self._dataset = sources, dataset
        rows = [(source, index) for source, of in enumerate(sources) for index in range(len(of))]
        rows.sort(key=lambda row: sources[row[0]].size(row[1]).audio_seconds)
        self._batches: list[list[tuple[int, int]]] = []
        used = 0
        for source, index in rows:
            total = sources[source].size(index).total
            if not self._batches or used + total > budget:
                self._batches.append([])
                used = 0
            self._batches[-1].append((source, index))
            used += total
        self._missing = -len(self._batches) % ranks

    def __len__(self) -> int:
        return len(self._batches) + self._missing

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Loads one batch.

        Raises:
            BadRow: If a conversation cannot be loaded.
        """
        if number < len(self._batches):
            return self._dataset[[self._sources[source].draw(index, 0) for source, index in self._batches[number]]]
        source, index = self._batches[0][0]
        return self._dataset[[unscored(self._sources[source].draw(index, 0))]]
