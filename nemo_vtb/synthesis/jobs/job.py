"""Making data in shards: over processes and Slurm arrays, resumable, deterministic by seed.

A job is a list of items cut into shards. What a shard holds follows from the job's settings, its seed and the shard's
number alone, so shards can be made by anyone in any order, and a run that was killed goes on with those that are
missing: nothing twice, nothing lost.
"""

import json
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.jobs.pool import make_in_pool
from nemo_vtb.synthesis.jobs.shard import Item, Maker, make_shard, shard_path
from nemo_vtb.whole_files import unwritten, write_text


@dataclass(frozen=True)
class Job:
    """What is to be made.

    Attributes:
        name: ``text``, ``qa`` or ``speech``.
        items: Everything there is to do, in a fixed order.
        open_maker: Loads the models and returns what makes a shard; called once in each process, so it must pickle.
        settings: All that decides what comes out, as plain JSON; a run is only resumed with the same.
        seed: Decides everything random, together with the shard number.
        shard_size: Items per shard; also what a process loses when it is killed.
        max_bad_share: Share of items whose input may be bad before the run stops.
        check: Opens what is cheap to open, and raises where it cannot be had; asked before anything is written.
    """

    name: str
    items: Sequence[Item]
    open_maker: Callable[[], Maker]
    settings: Mapping[str, Any]
    seed: int = 0
    shard_size: int = 32
    max_bad_share: float = 0.1
    check: Callable[[], object] | None = None

    def __post_init__(self) -> None:
        twice = [name for name, times in Counter(item.id for item in self.items).items() if times > 1]
        if twice:
            places = ", ".join(item.where for item in self.items if item.id == twice[0])
            raise VTBError(
                f"id '{twice[0]}' stands more than once ({places}): ids name rows and clips, make them unique"
            )
        if not self.items:
            raise VTBError(
                f"vtb synth {self.name}: the source has nothing to make data of: look at its files and at source.only"
            )

    @property
    def shards(self) -> int:
        """How many shards the items are cut into."""
        return -(-len(self.items) // self.shard_size)

    def of_shard(self, number: int) -> Sequence[Item]:
        """The items of a shard."""
        return self.items[number * self.shard_size : (number + 1) * self.shard_size]

    def fixed(self) -> dict[str, Any]:
        """What must not change between the runs of a folder."""
        source = sha256()
        for item in self.items:
            source.update(json.dumps([item.id, item.row], sort_keys=True, ensure_ascii=False).encode())
        facts = {"job": self.name, "seed": self.seed, "shard_size": self.shard_size, "items": len(self.items)}
        # Through JSON once, so that tuples compare equal to what a file gives back.
        return json.loads(json.dumps({**facts, "source_sha256": source.hexdigest(), **self.settings}))


def run_job(job: Job, folder: Path, part: tuple[int, int] = (0, 1), processes: int = 1) -> bool:
    """Makes the missing shards of a part.

    Args:
        job: What is to be made.
        folder: Where; shared by all parts.
        part: Number and how many: of ``n`` parts, part ``i`` makes every shard whose number is ``i`` modulo ``n``.
        processes: Side by side, each with models of its own.

    Returns:
        Whether all shards of all parts are there now.

    Raises:
        VTBError: If the folder holds another job, a process died, too much of the input is bad, or the disk is full;
            whole shards stay.
    """
    if job.check is not None:
        job.check()
    try:
        (folder / "shards").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritten(folder, error) from error
    _agree(job, folder)
    number, parts = part
    mine = range(number, job.shards, parts)
    missing = [shard for shard in mine if not shard_path(folder, shard).exists()]
    with _Progress(job, len(mine)) as progress:
        for shard in sorted(set(mine) - set(missing)):
            progress.saw(folder, shard, made=False)
        with closing(_made(job, folder, missing, min(processes, len(missing)))) as made:
            for shard in made:
                progress.saw(folder, shard, made=True)
    # Another run may have begun in the folder before this one had a shard in it.
    _agree(job, folder)
    return all(shard_path(folder, shard).exists() for shard in range(job.shards))


def _made(job: Job, folder: Path, missing: Sequence[int], processes: int) -> Generator[int]:
    """Makes shards and yields their numbers as they are done."""
    if processes <= 1:
        if missing:
            maker = job.open_maker()
            for number in missing:
                make_shard(maker, job.of_shard(number), folder, number, job.seed)
                yield number
        return
    yield from make_in_pool(
        processes, job.open_maker, {number: job.of_shard(number) for number in missing}, folder, job.seed
    )


def _agree(job: Job, folder: Path) -> None:
    path, fixed = folder / "settings.json", job.fixed()
    # A run that ended before its first shard, perhaps over a misspelt name, binds nobody.
    if not path.exists() or not any((folder / "shards").glob("[0-9]*")):
        write_text(path, json.dumps(fixed, indent=2, ensure_ascii=False) + "\n")
    there = json.loads(path.read_text(encoding="utf-8"))
    for key in {**there, **fixed}:
        if there.get(key) != fixed.get(key):
            raise VTBError(
                f"{folder} holds data made with {key}={there.get(key)!r}, and now it is {fixed.get(key)!r}: "
                "name another folder with out=FOLDER, or the old value"
            )


class _Progress:
    """The bar, and the limit of bad input."""

    def __init__(self, job: Job, shards: int) -> None:
        self._job, self._bad, self._seen, self._rows = job, 0, 0, 0
        self._total = min(len(job.items), shards * job.shard_size)

    def __enter__(self) -> "_Progress":
        from tqdm import tqdm

        self._bar = tqdm(total=self._total, unit="item", desc=f"synth {self._job.name}")
        return self

    def __exit__(self, *failure: object) -> None:
        self._bar.close()

    def saw(self, folder: Path, shard: int, made: bool) -> None:
        """Counts a finished shard.

        Raises:
            VTBError: If too much of the input was bad.
        """
        counts = json.loads((shard_path(folder, shard) / "totals.json").read_text(encoding="utf-8"))["counts"]
        self._rows += counts.get("rows.conversations", 0)
        bad = {name: count for name, count in counts.items() if name.startswith("bad.")}
        self._bad += sum(bad.values())
        items = len(self._job.of_shard(shard))
        self._seen += items
        if made:
            self._bar.update(items)
        else:
            # What was there already tells nothing about the rate.
            self._bar.initial += items
            self._bar.n += items
        self._bar.set_postfix(rows=self._rows, bad=self._bad, refresh=False)
        if self._bad > max(1.0, self._job.max_bad_share * self._total):
            drops = shard_path(folder, shard) / "drops.jsonl"
            raise VTBError(
                f"vtb synth {self._job.name}: {self._bad} of {self._seen} items had bad input, more than "
                f"max_bad_share={self._job.max_bad_share} of {self._total} allows; the last are named in {drops}"
            )
