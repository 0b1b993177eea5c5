"""Files whose rows cannot be read from the middle: each has a copy of its rows, a line of JSON for each.

The copy stands in the cache folder; recordings stay where they are, in the cells of a table or the members of a tar.
"""

import json
import math
import tarfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from nemo_vtb.data.audio.tables import SUFFIXES, open_table
from nemo_vtb.errors import VTBError

_HEAD = 4096


def needs_copy(path: Path) -> bool:
    """Whether a file is no text with a row in each line: a table, a tar of samples, an array of JSON."""
    if path.suffix != ".json":
        return path.suffix in (*SUFFIXES, ".tar")
    found = path.stat()
    return _is_array(path, found.st_size, found.st_mtime_ns)


def lines_of(path: Path) -> Iterator[bytes]:
    """Yields the rows of such a file, a line of JSON each.

    Raises:
        VTBError: If it cannot be read.
    """
    rows = (
        open_table(path).rows()
        if path.suffix in SUFFIXES
        else _samples(path)
        if path.suffix == ".tar"
        else _array(path)
    )
    for row in rows:
        yield json.dumps(row, ensure_ascii=False, default=_plain).encode("utf-8", "surrogatepass") + b"\n"


@lru_cache(maxsize=1024)
def _is_array(path: Path, *stamp: int) -> bool:
    # NeMo's manifests are named .json, and have a row in each line.
    with open(path, "rb") as file:
        head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    return head[:1] == b"[" and head[1:].lstrip()[:1] in (b"{", b"]", b"")


def _array(path: Path) -> Iterator[Any]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise VTBError(f"{path} cannot be read as an array of JSON: {error}") from error
    yield from rows


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    """Samples of a WebDataset: a ``.json`` and recordings of one name, next to each other."""
    stem, row, clips = None, None, list[str]()
    for name, data in _members(path):
        # WebDataset's own rule: what stands before the first dot of the name belongs together.
        file = PurePosixPath(name)
        own = str(file.parent / file.name.partition(".")[0])
        if own != stem and row is not None:
            yield _sample(row, clips, str(stem))
        if own != stem:
            stem, row, clips = own, None, []
        if data is None:
            clips.append(name)
        else:
            row = _object(data, f"{path}/{name}")
    if row is not None:
        yield _sample(row, clips, str(stem))


def _sample(row: dict[str, Any], clips: list[str], stem: str) -> dict[str, Any]:
    """The row with the names of its recordings within the tar, which are not those of its own fields."""
    named = {key: value for key, value in row.items() if key not in ("sound", "ori_sound", "speech")}
    return {"id": PurePosixPath(stem).name, **named, **({"sound": clips} if clips else {})}


def _members(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """Names of the members, with what the JSON ones hold; what is wrong with a tar is said by its index."""
    end = path.stat().st_size
    with tarfile.open(path, "r:") as tar:
        last = -1
        while (info := tar.next()) is not None:
            if info.offset <= last or info.size < 0 or info.offset_data + info.size > end:
                return
            last, tar.members = info.offset, []  # type: ignore[attr-defined]
            if info.isreg():
                held = tar.extractfile(info) if info.name.endswith(".json") else None
                yield info.name, held.read() if held is not None else None


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        row = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise VTBError(f"{name}: broken JSON: {error}") from error
    if not isinstance(row, dict):
        raise VTBError(f"{name} is not a JSON object")
    return row


def _plain(value: Any) -> Any:
    """What JSON has no word for, such as a date or a decimal of a table."""
    return float(value) if hasattr(value, "__float__") and math.isfinite(float(value)) else str(value)
