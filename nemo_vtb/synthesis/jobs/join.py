"""Joins the shards of a finished job into the files that people train on."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.jobs.shard import CONVERSATIONS, DROPS, HELD_OUT, shard_path
from nemo_vtb.whole_files import read_rows, write_rows, write_text

# Rows in, those to keep and what to note of the others out: {"id", "reason", "detail"}.
Unique = Callable[[Sequence[dict[str, Any]]], tuple[list[dict[str, Any]], list[dict[str, Any]]]]


def join(folder: Path, unique: Unique | None = None) -> dict[str, Any]:
    """Writes one file per kind of rows, the drops and the totals; each whole or not at all.

    Args:
        folder: Of the job, all of whose shards are there.
        unique: Leaves out conversations that say the same; shards cannot know of each other.

    Returns:
        ``settings``, ``rows`` by file, ``drops`` and ``bad`` by reason, ``amounts``, ``values`` and ``seconds`` of all
        shards; also written to ``totals.json``.

    Raises:
        VTBError: If shards are missing.
    """
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    count = -(-settings["items"] // settings["shard_size"])
    paths = [shard_path(folder, number) for number in range(count)]
    if missing := sum(not path.exists() for path in paths):
        raise VTBError(f"{missing} of {count} shards are missing in {folder}: run the other parts first")
    for left in (folder / "shards").glob(".*"):
        shutil.rmtree(left, ignore_errors=True)
    totals = _added([json.loads((path / "totals.json").read_text(encoding="utf-8")) for path in paths])
    streams = sorted({file.stem for path in paths for file in path.glob("*.jsonl")})
    rows = {name: [row for path in paths for row in read_rows(path / f"{name}.jsonl")] for name in streams}
    if unique is not None:
        # What is held out comes first, so that nothing close to it is trained on.
        held_out = rows.get(HELD_OUT, [])
        kept, twice = unique([*held_out, *rows[CONVERSATIONS]])
        ids = {row["id"] for row in held_out}
        rows[CONVERSATIONS] = [row for row in kept if row["id"] not in ids]
        if held_out:
            rows[HELD_OUT] = [row for row in kept if row["id"] in ids]
        rows[DROPS] += [{"detail": "", "bad": False, **row} for row in twice]
    for name, part in rows.items():
        write_rows(folder / f"{name}.jsonl", part)
    noted = rows.pop(DROPS)
    totals |= {
        "settings": settings,
        "rows": {name: len(part) for name, part in rows.items()},
        "drops": dict(Counter(row["reason"] for row in noted if not row["bad"]).most_common()),
        "bad": dict(Counter(row["reason"] for row in noted if row["bad"]).most_common()),
    }
    write_text(folder / "totals.json", json.dumps(totals, indent=2, ensure_ascii=False) + "\n")
    return totals


def _added(shards: Sequence[dict[str, Any]]) -> dict[str, Any]:
    amounts: Counter[str] = Counter()
    values: dict[str, list[float]] = {}
    for shard in shards:
        amounts.update(shard["amounts"])
        for name, seen in shard["values"].items():
            values.setdefault(name, []).extend(seen)
    seconds = {key: round(sum(shard[key] for shard in shards), 1) for key in ("seconds", "cpu_seconds")}
    return {"amounts": dict(amounts), "values": values, **seconds}
