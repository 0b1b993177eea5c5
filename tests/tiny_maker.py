"""A maker without models, for tests of what runs makers; ``python tiny_maker.py FOLDER OPTIONS`` is a whole run."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.jobs.job import Job, run_job
from nemo_vtb.synthesis.jobs.join import join
from nemo_vtb.synthesis.jobs.shard import Item, Shard

RATE = 16_000


def tiny_job(folder: Path, items: int = 20, shard_size: int = 3, seed: int = 5, **options: Any) -> Job:
    """A job whose items are numbers.

    Args:
        folder: Beside the made data, for marks of what happened.
        items: How many.
        shard_size: As in Job.
        seed: As in Job.
        options: ``dying`` (number of the item at which the process kills itself, the first time), ``bad`` (numbers of
            items), ``dawdle`` (seconds per item), ``megabytes`` (per row), ``max_bad_share``, ``style`` (a setting).
    """
    bad = options.get("bad", ())
    rows = [{"number": number, **({"bad": True} if number in bad else {})} for number in range(items)]
    return Job(
        name="text",
        items=[Item(f"item-{row['number']:03d}", row, f"source.jsonl:{row['number'] + 1}") for row in rows],
        open_maker=partial(open_tiny, folder, options),
        settings={"style": options.get("style", "plain"), "sizes": (1, 2)},
        seed=seed,
        shard_size=shard_size,
        max_bad_share=options.get("max_bad_share", 0.1),
    )


def open_tiny(folder: Path, options: dict[str, Any]) -> Callable[[Sequence[Item], Shard], None]:
    with (folder / "opened").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if options.get("broken"):
        raise VTBError("llm.model=nothing cannot be opened")
    return partial(make_tiny, folder, options)


def make_tiny(folder: Path, options: dict[str, Any], items: Sequence[Item], shard: Shard) -> None:
    for item in items:
        number = item.row["number"]
        time.sleep(options.get("dawdle", 0))
        if item.row.get("bad"):
            shard.drop(item.id, "no audio", f"{item.where}: no such file", bad=True)
            continue
        if number % 7 == 3:
            shard.drop(item.id, "too long", "by far")
            continue
        drawn = shard.rng.random()
        path, seconds = shard.clip(item.id, np.full(1600, drawn / 2, dtype=np.float32), RATE)
        text = f"Number {number} drew {drawn}." + "x" * int(1e6 * options.get("megabytes", 0))
        shard.add({"id": item.id, "conversations": [{"from": "User", "type": "text", "value": text}]})
        shard.add({"text": text, "audio_filepath": path, "duration": seconds}, "bank")
        shard.count("audio_seconds", seconds)
        shard.observe("drawn", drawn)
        if number == options.get("dying"):
            mark = folder / "died"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, options: dict[str, Any]) -> None:
    processes, part = options.pop("processes", 1), tuple(options.pop("part", (0, 1)))
    if run_job(tiny_job(folder, **options), folder / "out", part, processes):
        join(folder / "out")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
