"""An index over the rows of JSONL files: where each row is and how long its conversation is, 28 bytes a row.

Made once, so that every bad row is known, counted and left out before training, on every rank alike. Kept beside the
data, or in the cache folder where the data is read-only, and mapped into memory afterwards: no row is a Python object.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from nemo_vtb.assets.cache import cache_root
from nemo_vtb.data.conversations.chat_rows import Draw
from nemo_vtb.data.files.disk import locked, plain, stamps, writable
from nemo_vtb.data.files.rows import BadRow, parse_line
from nemo_vtb.data.sources.formats import RowFile
from nemo_vtb.data.sources.index_build import ROW, IndexContents, Weigh, build_index
from nemo_vtb.errors import VTBError


@dataclass(frozen=True)
class RowIndex:
    """The index of one source.

    Attributes:
        files: Its files.
        contents: What is known of their rows; ``contents.rows`` is a memory map.
    """

    files: list[RowFile]
    contents: IndexContents

    @property
    def rows(self) -> np.ndarray:
        """An array of ``ROW``, one for each good row."""
        return self.contents.rows

    def where(self, index: int) -> str:
        """Returns ``file:line`` of a row."""
        entry = self.rows[index]
        return f"{self.files[entry['file']].path}:{entry['line']}"

    def draw(self, index: int) -> Draw:
        """Reads and parses one row.

        Raises:
            BadRow: If it cannot be used any longer.
        """
        entry = self.rows[index]
        file, where = self.files[entry["file"]], self.where(index)
        with open(plain(file.path), "rb") as lines:
            lines.seek(int(entry["offset"]))
            draw = file.parse(parse_line(lines.readline()), where)
        if draw is None:
            raise BadRow("changed file", f"{where} is another row than when the index was made")
        return draw


def open_index(files: Sequence[RowFile], weigh: Weigh | None, key: str, name: str) -> RowIndex:
    """Opens the index of some files; makes it first where there is none, or where a file has changed.

    Args:
        files: Files of rows; each row is parsed when the index is made.
        weigh: Measures a conversation; without it lengths are 0.
        key: Names everything but the files that the index depends on.
        name: What the progress bar calls it.

    Raises:
        VTBError: If a file is missing, or the index cannot be kept anywhere.
    """
    paths = [file.path for file in files]
    for path in _read_files(files):
        if not path.is_file():
            raise VTBError(f"no such file: {path}")
    places = _places(paths, key)
    for place in places:
        if (index := _load(place, files)) is not None:
            return index
    allowed = [place for place in places if writable(place.parent)]
    if not allowed:
        raise VTBError(f"no folder to keep the index of {paths[0]} in; set NEMO_VTB_CACHE to one you can write to")
    place = allowed[0]
    with locked(place):
        if (index := _load(place, files)) is None:
            found = stamps(_read_files(files))
            _store(place, found, build_index(files, weigh, name))
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


def _store(place: Path, found: list[list[int]], contents: IndexContents) -> None:
    header = {**contents._asdict(), "rows": len(contents.rows), "files": found}
    partial = Path(f"{place}.{os.getpid()}.partial")
    with open(partial, "wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        file.write(contents.rows.tobytes())
    partial.replace(place)


def _load(place: Path, files: Sequence[RowFile]) -> RowIndex | None:
    try:
        with open(place, "rb") as file:
            header = json.loads(file.readline())
            offset = file.tell()
    except (OSError, ValueError):
        return None
    size = offset + header["rows"] * ROW.itemsize
    if header["files"] != stamps(_read_files(files)) or place.stat().st_size != size:
        return None
    rows: np.ndarray = (
        np.memmap(place, dtype=ROW, mode="r", offset=offset) if header["rows"] else np.zeros(0, dtype=ROW)
    )
    return RowIndex(
        list(files), IndexContents(rows, header["reasons"], header["first"], header["digest"], header["notes"])
    )
