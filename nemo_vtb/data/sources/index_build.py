"""Making an index: every row parsed for good, in as many processes as there are cores."""

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from nemo_vtb.data.audio.headers import Described, HeaderBook, Measured, measured, name_key
from nemo_vtb.data.conversations.size import Size
from nemo_vtb.data.files.notes import collect_notes
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.sources.copies import row_place
from nemo_vtb.data.sources.disk import plain, stamps
from nemo_vtb.data.sources.formats import RowFile
from nemo_vtb.data.sources.row_check import checked_row, plain_size
from nemo_vtb.data.worker_pool import worker_pool

ROW = np.dtype(
    [
        ("offset", "<i8"),  # byte in the file
        ("file", "<i4"),  # number of the file
        ("line", "<i4"),  # line in the file, from 1
        ("total", "<i4"),
        ("supervised", "<i4"),
        ("audio_seconds", "<f4"),
        ("clips", "<i4"),
        ("clip", "<i4"),  # number of the first of its recordings; they end where those of the next row begin
    ]
)
# What was measured of a recording, see ``headers``.
CLIP = np.dtype(
    [
        ("name", "<u8"),
        ("stamp", "<u8"),
        ("samples", "<i8"),
        ("rate", "<i4"),
        ("channels", "<i2"),
        ("plain", "<i2"),
    ]
)
Weigh = Callable[[Any], Size]
_CHUNK_BYTES = 1 << 18
_PROGRESS_DELAY = 3.0


class Held(NamedTuple):
    """A file of rows: its stamp, the bytes of its rows, unpacked, and their digest."""

    stamp: list[int]
    size: int
    digest: str


class IndexContents(NamedTuple):
    """What an index holds.

    Attributes:
        rows: ``ROW``, good rows only, in the order of the files.
        reasons: Rows left out, by reason.
        first: First message of each reason.
        digest: Of the files' contents and all lengths; does not depend on where the files are.
        clips: ``CLIP``, the recordings of the rows, in their order.
        notes: What is worth saying of good rows, and of how many of them.
        held: Of each file of rows, as it was read.
    """

    rows: np.ndarray
    reasons: dict[str, int]
    first: dict[str, str]
    digest: str
    clips: np.ndarray
    notes: dict[str, int]
    held: list[Held]

    def measured(self, row: int) -> dict[int, Measured]:
        """Returns what the recordings of a row were."""
        start = int(self.rows["clip"][row])
        end = int(self.rows["clip"][row + 1]) if row + 1 < len(self.rows) else len(self.clips)
        return {
            int(clip["name"]): Measured(
                int(clip["stamp"]),
                Described(int(clip["rate"]), int(clip["samples"]), int(clip["channels"]), bool(clip["plain"])),
            )
            for clip in self.clips[start:end]
        }


def build_index(files: Sequence[RowFile], weigh: Weigh | None, name: str) -> IndexContents:
    """Parses and weighs every row.

    Args:
        files: Files of rows.
        weigh: Measures a conversation; without it lengths are 0.
        name: What the progress bar calls it.

    Raises:
        VTBError: On what no row is to blame for, or if a process dies.
    """
    contents = blake2b(digest_size=16)
    chunks: list[_Chunk] = []
    held: list[Held] = []
    for number, file in enumerate(files):
        (stamp,), own = stamps([file.path]), blake2b(digest_size=16)
        chunks += (found := list(_chunks(number, file.path, (contents, own))))
        held.append(Held(stamp, found[-1].end if found else 0, own.hexdigest()))
    processes = min(len(os.sched_getaffinity(0)), len(chunks))
    parts: list[np.ndarray] = []
    clips: list[np.ndarray] = []
    reasons, first, notes = Counter[str](), dict[str, str](), Counter[str]()
    bar = tqdm(total=sum(c.end - c.start for c in chunks), desc=f"index {name}", unit="B", unit_scale=True,
               delay=_PROGRESS_DELAY, leave=False)  # fmt: skip
    with bar, _mapper(_Job(list(files), weigh), processes) as run:
        for chunk, found in zip(chunks, run(chunks), strict=True):
            found.rows["clip"] += sum(len(part) for part in clips)
            parts.append(found.rows)
            clips.append(found.clips)
            reasons.update(found.reasons)
            notes.update(found.notes)
            first = {**found.first, **first}
            bar.update(chunk.end - chunk.start)
    rows = np.concatenate(parts) if parts else np.zeros(0, dtype=ROW)
    for column in ("total", "supervised"):
        contents.update(np.ascontiguousarray(rows[column]).tobytes())
    heard = np.concatenate(clips) if clips else np.zeros(0, dtype=CLIP)
    return IndexContents(rows, dict(reasons), first, contents.hexdigest(), heard, dict(notes), held)


class _Chunk(NamedTuple):
    """Whole lines of one file: from byte ``start`` to ``end``, the first being line ``line``."""

    file: int
    start: int
    end: int
    line: int


def _chunks(number: int, path: Path, digests: "tuple[blake2b, ...]") -> Iterator[_Chunk]:
    start, line = 0, 1
    with open(plain(path), "rb") as file:
        while block := file.read(_CHUNK_BYTES) + file.readline():
            for digest in digests:
                digest.update(block)
            yield _Chunk(number, start, start + len(block), line)
            start += len(block)
            line += block.count(b"\n")


@dataclass(frozen=True)
class _Job:
    """Parses chunks; runs in the pool's processes."""

    files: list[RowFile]
    weigh: Weigh | None

    def __call__(self, chunk: _Chunk) -> "_Part":
        with collect_notes() as notes:
            part = self._rows(chunk)
        return part._replace(notes=Counter({note.message: count for note, count in notes.items()}))

    def _rows(self, chunk: _Chunk) -> "_Part":
        file = self.files[chunk.file]
        good: list[tuple[Any, ...]] = []
        clips: list[tuple[Any, ...]] = []
        reasons, first = Counter[str](), dict[str, str]()
        with open(plain(file.path), "rb") as data:
            data.seek(chunk.start)
            lines = io.BytesIO(data.read(chunk.end - chunk.start))
        offset = chunk.start
        for number, line in enumerate(lines, start=chunk.line):
            where = f"{file.path}:{number}"
            try:
                if (looked := plain_size(line, where, file, self.weigh)) is not None:
                    plain_row, size = looked
                    good.append((offset, chunk.file, number, *size, len(plain_row.clips), len(clips)))
                    clips += [(name_key(name), m.stamp, *_columns(m.described)) for name, m in plain_row.clips]
                    offset += len(line)
                    continue
                with measured(HeaderBook()) as book:
                    row = checked_row(line, where, file, self.weigh)
            except BadRow as error:
                reasons[error.reason] += 1
                first.setdefault(error.reason, f"{row_place(file.path, number)}: {error}")
            else:
                if row is not None:
                    good.append((offset, chunk.file, number, *row.size, row.clips, len(clips)))
                    clips += [(name, m.stamp, *_columns(m.described)) for name, m in book.found.items() if m]
            offset += len(line)
        return _Part(np.array(good, dtype=ROW), np.array(clips, dtype=CLIP), reasons, Counter(), first)


class _Part(NamedTuple):
    """What some lines hold; see ``IndexContents``."""

    rows: np.ndarray
    clips: np.ndarray
    reasons: Counter[str]
    notes: Counter[str]
    first: dict[str, str]


def _columns(described: Described) -> tuple[int, int, int, int]:
    return described.samples, described.rate, described.channels, int(described.plain)


@contextmanager
def _mapper(job: _Job, processes: int) -> Iterator[Callable[[list[_Chunk]], Iterator[Any]]]:
    if processes <= 1:
        yield lambda chunks: map(job, chunks)
        return
    global _job
    _job = job
    try:
        with worker_pool(processes) as pool:
            yield lambda chunks: pool.map(_run_job, chunks)
    finally:
        _job = None


_job: _Job | None = None


def _run_job(chunk: _Chunk) -> Any:
    assert _job is not None
    return _job(chunk)
