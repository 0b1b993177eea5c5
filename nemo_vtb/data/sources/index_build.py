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

from nemo_vtb.data.conversations.kinds import ALIGN, kind_of
from nemo_vtb.data.conversations.size import Size
from nemo_vtb.data.files.disk import plain
from nemo_vtb.data.files.notes import collect_notes
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.sources.formats import RowFile, parse_noting
from nemo_vtb.data.worker_pool import worker_pool
from nemo_vtb.errors import VTBError

ROW = np.dtype(
    [
        ("offset", "<i8"),  # byte in the file
        ("file", "<i4"),  # number of the file
        ("line", "<i4"),  # line in the file, from 1
        ("total", "<i4"),
        ("supervised", "<i4"),
        ("audio_seconds", "<f4"),
    ]
)
Weigh = Callable[[Any], Size]
_CHUNK_BYTES = 1 << 18
_PROGRESS_DELAY = 3.0


class IndexContents(NamedTuple):
    """What an index holds.

    Attributes:
        rows: ``ROW``, good rows only, in the order of the files.
        reasons: Rows left out, by reason.
        first: First message of each reason.
        digest: Of the files' contents and all lengths; does not depend on where the files are.
        notes: What is worth saying of good rows, and of how many of them.
    """

    rows: np.ndarray
    reasons: dict[str, int]
    first: dict[str, str]
    digest: str
    notes: dict[str, int]


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
    chunks = [chunk for number, file in enumerate(files) for chunk in _chunks(number, file.path, contents)]
    processes = min(len(os.sched_getaffinity(0)), len(chunks))
    parts, reasons, first, notes = [], Counter[str](), dict[str, str](), Counter[str]()
    bar = tqdm(total=sum(c.end - c.start for c in chunks), desc=f"index {name}", unit="B", unit_scale=True,
               delay=_PROGRESS_DELAY, leave=False)  # fmt: skip
    with bar, _mapper(_Job(list(files), weigh), processes) as run:
        for chunk, (rows, bad, messages, noted) in zip(chunks, run(chunks), strict=True):
            parts.append(rows)
            reasons.update(bad)
            notes.update(noted)
            first = {**messages, **first}
            bar.update(chunk.end - chunk.start)
    rows = np.concatenate(parts) if parts else np.zeros(0, dtype=ROW)
    for column in ("total", "supervised"):
        contents.update(np.ascontiguousarray(rows[column]).tobytes())
    return IndexContents(rows, dict(reasons), first, contents.hexdigest(), dict(notes))


class _Chunk(NamedTuple):
    """Whole lines of one file: from byte ``start`` to ``end``, the first being line ``line``."""

    file: int
    start: int
    end: int
    line: int


def _chunks(number: int, path: Path, contents: "blake2b") -> Iterator[_Chunk]:
    start, line = 0, 1
    with open(plain(path), "rb") as file:
        while block := file.read(_CHUNK_BYTES) + file.readline():
            contents.update(block)
            yield _Chunk(number, start, start + len(block), line)
            start += len(block)
            line += block.count(b"\n")


@dataclass(frozen=True)
class _Job:
    """Parses chunks; runs in the pool's processes."""

    files: list[RowFile]
    weigh: Weigh | None

    def __call__(self, chunk: _Chunk) -> tuple[np.ndarray, Counter[str], dict[str, str], Counter[str]]:
        with collect_notes() as notes:
            rows, reasons, first = self._rows(chunk)
        return rows, reasons, first, Counter({note.message: count for note, count in notes.items()})

    def _rows(self, chunk: _Chunk) -> tuple[np.ndarray, Counter[str], dict[str, str]]:
        file = self.files[chunk.file]
        good, reasons, first = [], Counter[str](), dict[str, str]()
        with open(plain(file.path), "rb") as data:
            data.seek(chunk.start)
            lines = io.BytesIO(data.read(chunk.end - chunk.start))
        offset = chunk.start
        for number, line in enumerate(lines, start=chunk.line):
            where = f"{file.path}:{number}"
            try:
                size = self._size(line, where, file)
            except BadRow as error:
                reasons[error.reason] += 1
                first.setdefault(error.reason, f"{where}: {error}")
            else:
                if size is not None:
                    good.append((offset, chunk.file, number, *size))
            offset += len(line)
        return np.array(good, dtype=ROW), reasons, first

    def _size(self, line: bytes, where: str, file: RowFile) -> Size | None:
        if not line.strip():
            return None
        try:
            draw = parse_noting(file, line, where)
            if draw is None or self.weigh is None:
                return None if draw is None else Size(0, 0)
            conversation = draw(0)
            size = self.weigh(conversation)
        except VTBError:  # a bad row, or something that no row is to blame for, such as a dangerous tar
            raise
        except Exception as error:
            raise BadRow("unreadable row", f"{type(error).__name__}: {error}") from error
        if not size.supervised and kind_of(conversation) != ALIGN:
            raise BadRow("nothing supervised", "no token of the conversation would be learnt")
        return size


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
