"""A shard of made data: a folder that is whole or absent.

Rows, clips and counts are written to a folder beside it, which gets the shard's name at the end by one rename. Whatever
kills the process before leaves nothing that counts, and whoever finds the shard may take it as it is.
"""

import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, TextIO
from uuid import uuid4

import numpy as np

from nemo_vtb.whole_files import FULL, unwritten

CONVERSATIONS = "conversations"
HELD_OUT = "held_out"
DROPS = "drops"


@dataclass(frozen=True)
class Item:
    """What one or several rows are made of.

    Attributes:
        id: Unique over the job.
        row: The source's row, or what was drawn for this item; plain JSON.
        where: ``file:line`` for messages.
    """

    id: str
    row: Mapping[str, Any]
    where: str = ""


class Shard:
    """A shard being written; a context manager whose clean end makes it count.

    Args:
        folder: The job's folder.
        number: Of the shard.
        seed: Of the job; ``rng`` depends on it and on the number alone.

    Attributes:
        rng: All of the shard's chance.
    """

    def __init__(self, folder: Path, number: int, seed: int) -> None:
        self.number = number
        self.rng = Random(f"{seed}/{number}")
        self._path = shard_path(folder, number)
        self._work = self._path.with_name(f".{self._path.name}.{uuid4().hex}")
        self._counts: Counter[str] = Counter()
        self._amounts: dict[str, float] = {}
        self._values: dict[str, list[float]] = {}

    def __enter__(self) -> "Shard":
        self._start, self._cpu = time.monotonic(), time.process_time()
        self._files = ExitStack()
        self._streams: dict[str, TextIO] = {}
        try:
            self._work.mkdir(parents=True)
            for name in (CONVERSATIONS, DROPS):
                self._stream(name)
        except OSError as error:
            self._discard()
            raise unwritten(self._path, error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        try:
            if kind is None:
                self._finish()
        except OSError as problem:
            error = problem
        finally:
            self._discard()
        if isinstance(error, OSError):
            # Another run may have made the same shard meanwhile, with the same rows, and tidied up.
            if self._path.exists():
                return True
            if kind is None or error.errno in FULL:
                raise unwritten(self._path, error) from error
        return False

    def add(self, row: Mapping[str, Any], stream: str = CONVERSATIONS) -> None:
        """Writes a row to one of the shard's files; ``bank`` is one, and the job may have others."""
        self._stream(stream).write(json.dumps(row, ensure_ascii=False) + "\n")
        self._counts[f"rows.{stream}"] += 1

    def clip(self, name: str, samples: np.ndarray, sample_rate: int) -> tuple[str, float]:
        """Writes a FLAC file.

        Args:
            name: File name without ending.
            samples: Float mono ``(samples,)``.
            sample_rate: In Hz.

        Returns:
            Its path from the job's folder, as rows name it, and its length in seconds.
        """
        import soundfile

        path, encoded = self._work / f"{name}.flac", BytesIO()
        # Of a full disk, soundfile only says "System error".
        soundfile.write(encoded, samples, sample_rate, format="FLAC")
        path.write_bytes(encoded.getbuffer())
        return f"{self._path.parent.name}/{self._path.name}/{path.name}", round(len(samples) / sample_rate, 4)

    def drop(self, item: str, reason: str, detail: str = "", bad: bool = False) -> None:
        """Notes what was left out, and why.

        Args:
            item: Its id, or that of the part.
            reason: A short name; reasons are counted.
            detail: What a person wants to see.
            bad: Whether the input was at fault rather than unfit; ``max_bad_share`` limits these.
        """
        row = {"id": item, "reason": reason, "detail": detail[:300], "bad": bad}
        self._stream(DROPS).write(json.dumps(row, ensure_ascii=False) + "\n")
        self._counts[f"{'bad' if bad else 'drop'}.{reason}"] += 1

    def count(self, name: str, amount: float = 1) -> None:
        """Adds to a total of the job, such as the seconds a back end took."""
        self._amounts[name] = self._amounts.get(name, 0.0) + amount

    def observe(self, name: str, value: float) -> None:
        """Notes a value whose distribution is of interest."""
        self._values.setdefault(name, []).append(round(float(value), 5))

    def _stream(self, name: str) -> TextIO:
        if name not in self._streams:
            path = self._work / f"{name}.jsonl"
            self._streams[name] = self._files.enter_context(path.open("w", encoding="utf-8"))
        return self._streams[name]

    def _finish(self) -> None:
        totals = {
            "counts": dict(self._counts),
            "amounts": {name: round(amount, 4) for name, amount in self._amounts.items()},
            "values": self._values,
            "seconds": round(time.monotonic() - self._start, 2),
            "cpu_seconds": round(time.process_time() - self._cpu, 2),
        }
        (self._work / "totals.json").write_text(json.dumps(totals), encoding="utf-8")
        for stream in self._streams.values():
            stream.flush()
            os.fsync(stream.fileno())
        self._work.rename(self._path)

    def _discard(self) -> None:
        with suppress(OSError):  # what could not be written is known by now
            self._files.close()
        shutil.rmtree(self._work, ignore_errors=True)


# Makes one shard: adds rows and notes drops. Loaded models live in it.
Maker = Callable[[Sequence[Item], Shard], None]


def make_shard(maker: Maker, items: Sequence[Item], folder: Path, number: int, seed: int) -> None:
    """Makes a shard, whole or not at all."""
    with Shard(folder, number, seed) as shard:
        maker(items, shard)


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard of a job stands."""
    return folder / "shards" / f"{number:05d}"


def clip_name(key: str) -> str:
    """A readable file name that no other key has, whatever stands in the key."""
    digest = blake2b(key.encode(), digest_size=6).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', key)[:60].strip('._')}-{digest}"


def place_in(folder: Path, path: Path) -> str:
    """A recording as the rows of a job may name it: relative where it is inside the job's folder."""
    path, folder = path.resolve(), folder.resolve()
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
