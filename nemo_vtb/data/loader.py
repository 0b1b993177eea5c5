"""A stateful data loader over a blend: workers walk ahead, the state is that of the batch last trained on."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

from nemo.utils import logging
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from nemo_vtb.data.blend.counters import counters
from nemo_vtb.data.blend.walk import Blend, BlendState, DrawnRow
from nemo_vtb.data.conversations.unscored import stand_in
from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.errors import VTBError
from nemo_vtb.parts.ranks import all_ranks_list


class Dropped(NamedTuple):
    """A conversation that became unusable after its index was made; nothing takes its place in its batch."""

    kind: str
    source: int
    row: int
    reason: str
    message: str


class BlendLoader:
    """Endless batches of a blend for one rank.

    A batch has the keys of ``VTBDataset``, ``data_state`` (the state behind it, as JSON) and ``dropped``. Lightning
    saves ``state_dict`` of rank 0 and gives it to every rank; it holds nothing that differs between ranks.

    Args:
        blend: The walk.
        dataset: Turns conversations into a batch.
        batch_tokens: LLM positions per rank and step, audio frames included.
        rank: This rank among the data-parallel ones.
        world_size: Number of data-parallel ranks.
        num_workers: Worker processes that load audio ahead.
        max_bad_share: Share of a source's rows that may be dropped; 0 stops at the first.
        acknowledged: The state moves on with ``acknowledge``, not when a batch is handed out. Lightning fetches one
            batch before it trains on the one at hand, and throws the former away at the end of an epoch.
        epoch: Batches of an epoch, the loader's length, where anybody asks for one; see ``blend.epoch``.
        repeat: Go through these first so many batches again and again.

    Attributes:
        epoch_is_over: Whether the next pass over the loader has nothing to give: a run resumed behind the last batch of
            an epoch.
        dropped: Conversations dropped on this rank since its start, by kind and reason.
        dropped_everywhere: The same on all ranks and since the run's beginning, as of the last ``counters``.
    """

    def __init__(
        self,
        blend: Blend,
        dataset: VTBDataset,
        batch_tokens: int,
        rank: int = 0,
        world_size: int = 1,
        num_workers: int = 0,
        max_bad_share: float = 0.0,
        acknowledged: bool = False,
        epoch: int | None = None,
        repeat: int | None = None,
    ) -> None:
        self.blend = blend
        self.epoch_is_over = False
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.dropped_everywhere: dict[str, dict[str, int]] = {}
        self._dropped_before: dict[str, dict[str, int]] = {}
        self._dataset, self._batch_tokens = dataset, batch_tokens
        self._rank, self._world_size, self._num_workers = rank, world_size, num_workers
        self._max_bad_share, self._acknowledged = max_bad_share, acknowledged
        self._epoch, self._repeat = epoch, repeat
        self._state = blend.start()
        self._lost: dict[tuple[str, int], set[int]] = {}

    def __len__(self) -> int:
        if self._epoch is None:
            raise TypeError("a blend has no end; nobody asked for its epochs")
        return self._epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # Not in the generator, which begins when its first batch is asked for: Lightning may never ask.
        if self.epoch_is_over:
            self.epoch_is_over = False
            return iter(())
        if self._repeat and self._state.step >= self._repeat:
            self._state = self.blend.start()
        return self._batches()

    def _batches(self) -> Iterator[dict[str, Any]]:
        if self._num_workers:
            # Compiled before the workers fork; otherwise each would compile it again.
            self.blend.own_batch(self.blend.start(), 1, 1, 0)
        walk = _Walk(self.blend, self._dataset, self._batch_tokens, self._rank, self._world_size, self._state.to_dict())
        for batch in DataLoader(walk, batch_size=None, num_workers=self._num_workers):
            if isinstance(batch, VTBError):
                raise batch
            for dropped in batch["dropped"]:
                self._drop(dropped)
            if not self._acknowledged:
                self.acknowledge(batch)
            yield batch

    def acknowledge(self, batch: dict[str, Any]) -> None:
        """Takes note that a batch is being trained on: a resume goes on with the next one."""
        self._state = BlendState(**json.loads(batch["data_state"]))

    @property
    def step(self) -> int:
        """Batches per rank up to the one last trained on."""
        return self._state.step

    def counters(self) -> dict[str, float]:
        """Returns what is logged of the data; every rank calls this after the same step."""
        here = [json.dumps([*key, count]) for key, count in self.dropped.items()]
        total = {kind: Counter(reasons) for kind, reasons in self._dropped_before.items()}
        for kind, reason, dropped in map(json.loads, all_ranks_list(here)):
            total.setdefault(kind, Counter())[reason] += dropped
        self.dropped_everywhere = {kind: dict(reasons) for kind, reasons in total.items()}
        return counters(self.blend, self._state, self.dropped_everywhere)

    def state_dict(self) -> dict[str, Any]:
        """Returns where the walk is, and what must be the same for it to go on exactly."""
        return {
            **self._state.to_dict(),
            "seed": self.blend.seed,
            "fingerprint": self._fingerprint(),
            "world_size": self._world_size,
            "batch_tokens": self._batch_tokens,
            "dropped": self.dropped_everywhere,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a saved state.

        Other shares, another strategy, number of ranks or of workers, or another budget are fine: the walk goes on
        after the last conversation drawn, without repeats; only which batch and rank a conversation falls in changes.

        Raises:
            VTBError: If the data or the seed have changed, naming what differs.
        """
        start = self.blend.start()
        try:
            walk = BlendState(**{key: state[key] for key in ("step", "drawn", "owed", "owed_turns")})
            walk.amounts = state.get("amounts", start.amounts)  # which older checkpoints have not counted
            saved, seed, ranks, budget = (state[key] for key in ("fingerprint", "seed", "world_size", "batch_tokens"))
        except KeyError as error:
            raise VTBError(
                f"the checkpoint's data state has no {error}: another version of nemo_vtb wrote it"
            ) from error
        _check_same(saved, self._fingerprint())
        if seed != self.blend.seed:
            raise VTBError(
                f"data.train_ds.seed is {self.blend.seed}, the checkpoint was trained with {seed}: another order would "
                "repeat some conversations and lose others; resume with the same seed"
            )
        if walk.owed_turns.keys() != start.owed_turns.keys():
            walk.owed_turns = start.owed_turns
        if (ranks, budget) != (self._world_size, self._batch_tokens):
            logging.warning(
                f"nemo_vtb: resuming after step {walk.step} with {self._world_size} ranks of {self._batch_tokens} "
                f"positions instead of {ranks} of {budget}. No conversation is repeated or lost; kept is their order, "
                "not which of them share a batch."
            )
        self._state = walk
        self._dropped_before = self.dropped_everywhere = state.get("dropped", {})

    def _fingerprint(self) -> dict[str, list[str]]:
        return {
            kind: [f"{source.name}: {source.fingerprint}" for source in of_kind]
            for kind, of_kind in self.blend.sources.items()
        }

    def _drop(self, dropped: Dropped) -> None:
        self.dropped[dropped.kind, dropped.reason] += 1
        lost = self._lost.setdefault((dropped.kind, dropped.source), set())
        lost.add(dropped.row)
        source = self.blend.sources[dropped.kind][dropped.source]
        if self._max_bad_share <= 0:
            raise VTBError(f"{dropped.message} (set data.train_ds.max_bad_share to skip and count such rows)")
        if len(lost) > self._max_bad_share * len(source):
            raise VTBError(
                f"{dropped.kind}/{source.name}: {len(lost)} of {len(source)} conversations could not be loaded, "
                f"max_bad_share is {self._max_bad_share}; the last one: {dropped.message}"
            )
        logging.warning(f"nemo_vtb: left out of its batch: {dropped.message}")


class _Walk(IterableDataset):
    """The batches of one rank; each worker walks all steps and makes every so-manieth batch."""

    def __init__(
        self, blend: Blend, dataset: VTBDataset, budget: int, rank: int, ranks: int, state: dict[str, Any]
    ) -> None:
        self._blend, self._dataset, self._budget, self._rank, self._ranks = blend, dataset, budget, rank, ranks
        self._state = state

    def __iter__(self) -> Iterator[dict[str, Any] | VTBError]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        state = BlendState(**json.loads(json.dumps(self._state)))
        for number in count():
            rows = self._blend.own_batch(state, self._budget, self._ranks, self._rank)
            if number % stride == first:
                try:
                    yield {**self._batch(rows), "data_state": json.dumps(state.to_dict())}
                except VTBError as error:
                    # Raised here, it would reach the user wrapped in the worker's traceback.
                    yield VTBError(str(error))

    def _batch(self, rows: list[DrawnRow]) -> dict[str, Any]:
        loaded, dropped = [], []
        for row in rows:
            try:
                loaded.append(self._dataset.load(self._blend.fetch(row)))
            except Exception as error:
                if isinstance(error, VTBError) and not isinstance(error, BadRow):
                    raise  # no row is to blame
                reason = error.reason if isinstance(error, BadRow) else "unreadable row"
                where = getattr(self._blend.sources[row.kind][row.source], "where", str)(row.row)
                # Audio libraries add pages about what they have tried.
                message = f"{where}: {error}".splitlines()[0]
                dropped.append(Dropped(row.kind, row.source, row.row, reason, message))
        if not loaded:
            loaded.append(self._dataset.load(stand_in(rows[0].kind)))
        return {**self._dataset.collate(loaded), "dropped": dropped}


def _check_same(saved: dict[str, list[str]], now: dict[str, list[str]]) -> None:
    if saved.keys() != now.keys():
        raise VTBError(
            f"the checkpoint was trained on the kinds {', '.join(saved)}, data.train_ds.blend has {', '.join(now)}; "
            "resume with the config it was trained with"
        )
    for kind in saved:
        for number in range(max(len(saved[kind]), len(now[kind]))):
            before, after = (of[kind][number] if number < len(of[kind]) else "nothing" for of in (saved, now))
            if before != after:
                raise VTBError(
                    f"the data of kind {kind} have changed since the checkpoint was written: input_cfg entry "
                    f"{number + 1} was '{before}' and is '{after}'. Resume with the same files, tokenizer and prompt "
                    "format; to go on with other data, start anew from the checkpoint's weights."
                )
