"""Files whose rows cannot be read from the middle: each has a copy of its rows, a line of JSON for each.

The copy stands in the cache folder; recordings stay where they are, in the cells of a table or the members of a tar.
"""

import gzip
import json
import math
import tarfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from nemo_vtb.data.audio.tables import SUFFIXES, open_table
from nemo_vtb.data.files.rows import BadRow, not_utf8, open_lines
from nemo_vtb.data.row_forms.fields import names_clip_file
from nemo_vtb.errors import VTBError

_HEAD = 4096
# Lhotse packs its arrays of cuts.
_JSON = (".json", ".json.gz")
# Containers that may hold recordings, beside what is nothing else.
_CLIPS = (".mp4", ".webm", ".mka", ".mkv", ".3gp")
_HEARD = ("sound", "ori_sound", "speech")
# Of what a copy holds of its file: with another number, copies that are kept are made anew.
FORM = 3
# The copy of a sample without a row has this field: true, or what is wrong with the JSON that it has.
NO_JSON = "$no json"


def needs_copy(path: Path) -> bool:
    """Whether a file is no text with a row in each line: a table, a tar of samples, an array of JSON."""
    if not path.name.endswith(_JSON):
        return path.suffix in (*SUFFIXES, ".tar")
    found = path.stat()
    return _is_array(path, found.st_size, found.st_mtime_ns)


def row_place(path: Path | str, number: int) -> str:
    """Returns where a row is, for people: ``file:line``, or its number where its file has no line for each row."""
    try:
        copied = needs_copy(Path(path))
    except OSError:  # gone meanwhile
        copied = False
    return f"{path}, row {number}" if copied else f"{path}:{number}"


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
        # Keys that stand twice do so in the copy: whoever parses its lines says it with the row.
        yield json.dumps(row, ensure_ascii=False, default=_plain).encode("utf-8", "surrogatepass") + b"\n"


@lru_cache(maxsize=1024)
def _is_array(path: Path, *stamp: int) -> bool:
    # NeMo's manifests are named .json, and have a row in each line.
    try:
        with open_lines(path) as file:
            head = file.read(_HEAD).removeprefix(b"\xef\xbb\xbf").lstrip()
    except (gzip.BadGzipFile, EOFError, zlib.error):  # whoever reads on says so
        return False
    return head[:1] == b"[" and head[1:].lstrip()[:1] in (b"{", b"]", b"")


class _AsWritten(dict):
    """An object of JSON that is written again with every key that it had."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def items(self) -> Any:
        """Pairs, some of them perhaps with one key."""
        return self._pairs


def _array(path: Path) -> Iterator[Any]:
    try:
        with open_lines(path) as file:
            rows = json.loads(file.read().decode("utf-8-sig"), object_pairs_hook=_AsWritten)
    except UnicodeDecodeError as error:
        raise VTBError(f"{path} is {not_utf8(error)}") from error
    except (ValueError, RecursionError) as error:
        raise VTBError(f"{path} cannot be read as an array of JSON: {error}") from error
    yield from rows


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    """Samples of a WebDataset: a ``.json`` and recordings of one name, next to each other."""
    for stem, members in groupby(_members(path), lambda member: _key(member[0])[0]):
        clips, rows, others = list[str](), dict[str, tuple[str, bytes]](), list[tuple[str, Any]]()
        for name, data in members:
            kind = _key(name)[1]
            if data is not None and kind not in rows:
                rows[kind] = name, data
            elif names_clip_file(f"clip{PurePosixPath(name).suffix}") or kind.endswith(_CLIPS):
                clips.append(name)
            else:  # under its suffix, as WebDataset has it: a field that nothing reads, and that is said to be
                others.append((kind or ".", name))
        name, data = rows.pop(".json", None) or (rows.popitem()[1] if len(rows) == 1 else ("", None))
        others += [(kind, name) for kind, (name, _) in rows.items()]
        try:
            row = _object(data, name) if data is not None else None
        except BadRow as error:  # one of thousands: whoever parses the copy's rows counts it
            yield {"id": PurePosixPath(stem).name, NO_JSON: str(error)}
        else:
            yield _sample(row, clips, others, stem)


def _key(name: str) -> tuple[str, str]:
    """WebDataset's own rule: what stands before the first dot of a name belongs together; the rest says what it is."""
    file = PurePosixPath(name)
    stem, dot, suffix = file.name.partition(".")
    return str(file.parent / stem), (dot + suffix).lower()


def _sample(row: dict[str, Any] | None, clips: list[str], others: list[tuple[str, Any]], stem: str) -> dict[str, Any]:
    """The row with the names of its recordings within the tar, which are not those of its own fields."""
    own = [] if row is None else [(key, value) for key, value in row.items() if key not in _HEARD]
    named = [] if any(key == "id" for key, _ in own) else [("id", PurePosixPath(stem).name)]
    heard: list[tuple[str, Any]] = [("sound", clips)] if clips else []
    return _AsWritten([*named, *own, *heard, *others, *([(NO_JSON, True)] if row is None else [])])


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
                held = tar.extractfile(info) if info.name.lower().endswith(".json") else None
                yield info.name, held.read() if held is not None else None


def _object(data: bytes, name: str) -> dict[str, Any]:
    try:
        row = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_AsWritten)
    except UnicodeDecodeError as error:
        raise BadRow("broken JSON", f"broken JSON: {name} is {not_utf8(error)}") from error
    except (ValueError, RecursionError) as error:
        raise BadRow("broken JSON", f"broken JSON: {name}: {error}") from error
    if not isinstance(row, dict):
        raise BadRow("broken JSON", f"broken JSON: {name} is not a JSON object")
    return row


def _plain(value: Any) -> Any:
    """What JSON has no word for, such as a date or a decimal of a table."""
    return float(value) if hasattr(value, "__float__") and math.isfinite(float(value)) else str(value)
