"""An index over the rows of JSONL files: where each row is, how long it is, what its recordings are.

It takes 36 bytes a row, and 32 a recording.

Made once, so that every bad row is known, counted and left out before training, on every rank alike. Kept beside the
data, or in the cache folder where the data is read-only, and mapped into memory afterwards: no row is a Python object.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import IO

import numpy as np

from nemo_vtb.assets.cache import cache_root
from nemo_vtb.data.audio.headers import HeaderBook, measured
from nemo_vtb.data.conversations.chat_rows import Draw
from nemo_vtb.data.files.rows import BadRow, parse_line
from nemo_vtb.data.sources.copies import row_place
from nemo_vtb.data.sources.disk import keep, plain, stamps
from nemo_vtb.data.sources.formats import RowFile
from nemo_vtb.data.sources.index_build import CLIP, ROW, Held, IndexContents, Weigh, build_index
from nemo_vtb.data.sources.sniff import check_lines
from nemo_vtb.errors import VTBError

# Rows of which an index that is opened again sees whether their recordings are still what they were.
_LOOKED_AT = 64
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class RowIndex:
    """The index of one source.

    Attributes:
        files: Its files.
        contents: What is known of their rows; ``contents.rows`` and ``contents.clips`` are memory maps.
    """

    files: list[RowFile]
    contents: IndexContents

    @property
    def rows(self) -> np.ndarray:
        """An array of ``ROW``, one for each good row."""
        return self.contents.rows

    def where(self, index: int) -> str:
        """Returns where a row is, for people."""
        entry = self.rows[index]
        return row_place(self.files[entry["file"]].path, int(entry["line"]))

    def draw(self, index: int) -> Draw:
        """Reads and parses one row.

        Raises:
            BadRow: If it cannot be used any longer, or it or a recording of it is another one than was measured.
        """
        entry = self.rows[index]
        file = self.files[entry["file"]]
        self._check_file(int(entry["file"]))
        with open(plain(file.path), "rb") as lines:
            lines.seek(int(entry["offset"]))
            line = lines.readline()
        with measured(HeaderBook(self.contents.measured(index))):
            draw = file.parse(parse_line(line), f"{file.path}:{entry['line']}")
        if draw is None:
            raise BadRow("changed file", f"{self.where(index)} is another row than when the index was made")
        return draw

    def _check_file(self, number: int) -> None:
        """Refuses a file that was written anew: another row may stand where the index has one. More may follow."""
        path, held = self.files[number].path, self.contents.held[number]
        try:
            (now,) = stamps([path])
            same = now == held.stamp or _begins_with(path, held.size, held.digest, *now)
        except OSError as error:
            raise BadRow("changed file", f"{path} cannot be read any longer: {error.strerror}") from error
        if not same:
            raise BadRow("changed file", f"{path} holds other rows than when the index was made")


@lru_cache(maxsize=1024)
def _begins_with(path: Path, size: int, digest: str, *stamp: int) -> bool:
    found = blake2b(digest_size=16)
    with open(plain(path), "rb") as file:
        while size and (block := file.read(min(size, _BLOCK_BYTES))):
            found.update(block)
            size -= len(block)
    return not size and found.hexdigest() == digest


def open_index(files: Sequence[RowFile], weigh: Weigh | None, key: str, name: str) -> RowIndex:
    """Opens the index of some files; makes it first where there is none, or where a file or recording has changed.

    Of the recordings, those of a few rows are looked at; ``RowIndex.draw`` looks at each.

    Args:
        files: Files of rows; each row is parsed when the index is made.
        weigh: Measures a conversation; without it lengths are 0.
        key: Names everything but the files that the index depends on.
        name: What the progress bar calls it.

    Raises:
        VTBError: If a file is missing or holds no lines of JSON, or the index cannot be kept anywhere.
    """
    paths = [file.path for file in files]
    for path in _read_files(files):
        if not path.is_file():
            raise VTBError(f"no such file: {path}")
    for path in dict.fromkeys(paths):
        check_lines(path)
    places = _places(paths, key)
    for place in places:
        if (index := _load(place, files)) is not None:
            return index
    found = stamps(_read_files(files))
    made: list[IndexContents] = []

    def write(file: IO[bytes]) -> None:
        if not made:
            made.append(build_index(files, weigh, name))
        _store(file, found, made[0])

    place = keep(places, write, lambda place: _load(place, files) is not None, f"the index of {paths[0]}")
    index = _load(place, files)
    if index is None:
        raise VTBError(f"{paths[0]} or a file that belongs to it changed while it was read; wait until it is written")
    return index


def _places(paths: Sequence[Path], key: str) -> list[Path]:
    folder = paths[0].absolute().parent
    names = [os.path.relpath(path, folder) for path in paths]
    digest = blake2b("\n".join([key, *names]).encode(), digest_size=8).hexdigest()
    elsewhere = cache_root() / "index" / blake2b(str(folder).encode(), digest_size=8).hexdigest()
    return [place / f"{paths[0].name}.{digest}" for place in (folder / ".vtb_index", elsewhere)]


def _read_files(files: Sequence[RowFile]) -> list[Path]:
    return list(dict.fromkeys(path for file in files for path in (file.path, *file.others)))


def _store(file: IO[bytes], found: list[list[int]], contents: IndexContents) -> None:
    header = {**contents._asdict(), "rows": len(contents.rows), "clips": len(contents.clips), "files": found}
    file.write(json.dumps(header).encode() + b"\n")
    file.write(contents.rows.tobytes())
    file.write(contents.clips.tobytes())


def _load(place: Path, files: Sequence[RowFile]) -> RowIndex | None:
    try:
        with open(place, "rb") as file:
            header = json.loads(file.readline())
            offset = file.tell()
    except (OSError, ValueError):
        return None
    clips_at = offset + header["rows"] * ROW.itemsize
    size = clips_at + header["clips"] * CLIP.itemsize
    if header["files"] != stamps(_read_files(files)) or place.stat().st_size != size:
        return None
    rows, clips = _mapped(place, ROW, offset, header["rows"]), _mapped(place, CLIP, clips_at, header["clips"])
    held = [Held(*one) for one in header["held"]]
    contents = IndexContents(rows, header["reasons"], header["first"], header["digest"], clips, header["notes"], held)
    index = RowIndex(list(files), contents)
    return index if _holds(index) else None


def _mapped(place: Path, dtype: np.dtype, offset: int, count: int) -> np.ndarray:
    if not count:
        return np.zeros(0, dtype=dtype)
    return np.memmap(place, dtype=dtype, mode="r", offset=offset, shape=(count,))


def _holds(index: RowIndex) -> bool:
    """Whether recordings are what they were: files are replaced by whole folders, if at all.

    One that is gone does not make another index, from which a run could not go on: it is counted when it is drawn.
    """
    if not len(index.contents.clips):
        return True
    rows = np.unique(np.linspace(0, len(index.rows) - 1, _LOOKED_AT).astype(np.int64)).tolist()
    for row in rows:
        try:
            index.draw(row)
        except BadRow as error:
            if error.reason != "missing audio":
                return False
    return True
