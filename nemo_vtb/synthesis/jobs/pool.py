"""Processes side by side that make shards, each with models of its own."""

import os
import signal
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.jobs.shard import Item, Maker, make_shard


def make_in_pool(
    processes: int, open_maker: Callable[[], Maker], shards: Mapping[int, Sequence[Item]], folder: Path, seed: int
) -> Generator[int]:
    """Makes shards and yields their numbers as they are done.

    Args:
        processes: How many.
        open_maker: As in ``Job``.
        shards: Items by the shard's number.
        folder: Of the job.
        seed: Of the job.

    Raises:
        VTBError: If a process died, or what a maker raises; the others finish the shards they are at.
    """
    # Fork would copy thread pools that no longer run; the items of a shard travel, the models do not.
    with ProcessPoolExecutor(processes, get_context("spawn"), _begin, (open_maker,)) as pool:
        futures: dict[Future[None], int] = {}
        try:
            for number, items in shards.items():
                futures[pool.submit(_make, items, folder, number, seed)] = number
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BrokenProcessPool as error:
            raise VTBError(
                "a process died (killed, or out of memory); whole shards are kept. "
                "Run the same command again, with fewer processes if memory was short"
            ) from error
        finally:
            for future in futures:
                future.cancel()


_open_maker: Callable[[], Maker]


def _begin(open_maker: Callable[[], Maker]) -> None:
    """Sets up a process; its maker opens with its first shard, where an error can still be told."""
    global _open_maker
    _open_maker = open_maker
    # Ctrl-C is the parent's to tell.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Processes whose parent was killed would otherwise keep their models and wait for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@cache
def _maker() -> Maker:
    return _open_maker()


def _make(items: Sequence[Item], folder: Path, number: int, seed: int) -> None:
    make_shard(_maker(), items, folder, number, seed)
