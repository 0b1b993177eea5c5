"""A stateful data loader over a blend: batches ahead in workers, state at the batch last handed out."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from torch.utils.data import DataLoader, Dataset

from nemo_vtb.data.blend import Blend, BlendState, DrawnRow
from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.errors import VTBError


class BlendLoader:
    """Endless batches of a blend for one rank.

    Lightning saves ``state_dict`` of rank 0 and gives it to every rank; it holds nothing that differs between ranks.

    Args:
        blend: The walk.
        dataset: Turns conversations into a batch.
        batch_tokens: LLM positions per rank and step, audio frames included.
        rank: This rank among the data-parallel ones.
        world_size: Number of data-parallel ranks.
        num_workers: Worker processes that load audio ahead.
    """

    def __init__(
        self,
        blend: Blend,
        dataset: VTBDataset,
        batch_tokens: int,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
    ) -> None:
        self.blend = blend
        self._dataset, self._batch_tokens = dataset, batch_tokens
        self._rank, self._world_size, self._num_workers = rank, world_size, num_workers
        self._state = blend.start()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        states: list[BlendState] = []

        def walk() -> Iterator[list[DrawnRow]]:
            ahead = deepcopy(self._state)
            while True:
                batches = self.blend.step(ahead, self._batch_tokens, self._world_size)
                states.append(deepcopy(ahead))
                yield batches[self._rank]

        loader = DataLoader(
            _BlendRows(self.blend, self._dataset),
            sampler=_Endless(walk),
            batch_size=None,
            num_workers=self._num_workers,
        )
        for batch in loader:
            self._state = states.pop(0)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Returns where the walk is after the batch last handed out."""
        return self._state.to_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state.

        Raises:
            VTBError: If the state belongs to other kinds or sources.
        """
        loaded, start = BlendState(**state), self.blend.start()
        if {k: len(v) for k, v in loaded.drawn.items()} != {k: len(v) for k, v in start.drawn.items()}:
            raise VTBError(
                "the checkpoint's data state has other kinds or sources than data.train_ds.blend "
                f"({sorted(loaded.drawn)} against {sorted(start.drawn)}); resume with the config it was trained with"
            )
        self._state = loaded


class _Endless:
    def __init__(self, walk: Any) -> None:
        self._walk = walk

    def __iter__(self) -> Iterator[list[DrawnRow]]:
        return self._walk()


class _BlendRows(Dataset):
    """Fetches the conversations of one batch; runs in the workers."""

    def __init__(self, blend: Blend, dataset: VTBDataset) -> None:
        self._blend, self._dataset = blend, dataset

    def __getitem__(self, rows: list[DrawnRow]) -> dict[str, Any]:
        return self._dataset[[self._blend.fetch(row) for row in rows]]
