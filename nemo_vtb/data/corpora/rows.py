"""What a corpus is read into: rows of a NeMo manifest, or chats, each with its split."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemo_vtb.data.audio.headers import header
from nemo_vtb.data.files.rows import BadRow, parse_line
from nemo_vtb.errors import VTBError


@dataclass(frozen=True)
class Asked:
    """What of a corpus is wanted.

    Attributes:
        folder: The local copy.
        out: Where files go.
        languages: Tags; empty for all that are there.
        targets: Of translations; empty for all.
        left_out: What of the corpus is not among the rows, counted.
    """

    folder: Path
    out: Path
    languages: Sequence[str] = ()
    targets: Sequence[str] = ()
    left_out: Counter[str] = field(default_factory=Counter)

    def wants(self, language: str) -> bool:
        """Whether a language is asked for, with or without its region."""
        return not self.languages or language in self.languages or language.partition("-")[0] in self.languages


@dataclass(frozen=True)
class Row:
    """A row: its split, its kind (``asr``, ``ast``, ``sqa``, ``text``) and the fields of its line."""

    split: str
    kind: str
    fields: dict[str, Any]


Read = Callable[[Asked], Iterator[Row]]


def seconds_of(path: Path, where: str) -> float:
    """Length of a recording.

    Raises:
        VTBError: Names the row, if the recording is missing or cannot be read.
    """
    if not path.is_file():
        raise VTBError(f"{where}: no recording {path}")
    try:
        found = header(str(path), path.name, str(path))
    except Exception as error:
        raise VTBError(f"{where}: {error}") from error
    return found.samples / found.rate


def lines_of(path: Path) -> list[str]:
    """The lines of a text; Python also ends one at signs that stand within sentences, such as U+2028."""
    text = path.read_text(encoding="utf-8-sig")
    return text.removesuffix("\n").split("\n") if text else []


def table(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows of a table with tabs and a first line of names; quotes are part of the text, as corpora have them.

    Raises:
        VTBError: If the file cannot be read, or a line has another number of fields than the first.
    """
    try:
        lines = lines_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise VTBError(f"{path} cannot be read: {error}") from error
    names = lines[0].split("\t") if lines else []
    for number, line in enumerate(lines[1:], 2):
        values = line.split("\t")
        if len(values) != len(names):
            raise VTBError(f"{path}:{number} has {len(values)} fields, and {len(names)} names stand in the first line")
        yield f"{path}:{number}", dict(zip(names, values, strict=True))


def records(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each record of a parquet, JSON, JSON lines or CSV file with its place.

    Raises:
        VTBError: If the file cannot be read, or holds something else.
    """
    for number, row in _read(file):
        where = f"{file}:{number}" if file.suffix == ".jsonl" else f"{file}, row {number}"
        if not isinstance(row, dict):
            raise VTBError(f"{where} is no row of named fields")
        yield where, row


def some(folder: Path, *patterns: str) -> list[Path]:
    """Files or folders of a local copy, the patterns tried in turn.

    Raises:
        VTBError: If there is none.
    """
    for pattern in patterns:
        if found := sorted(folder.glob(pattern)):
            return found
    raise VTBError(f"{folder} holds no {' or '.join(patterns)}, which a local copy of it has")


def _read(file: Path) -> Iterator[tuple[int, Any]]:
    """Records with their numbers: those of their lines, where each has one."""
    try:
        if file.suffix == ".parquet":
            yield from enumerate(_parquet(file), 1)
        elif file.suffix == ".csv":
            with file.open(encoding="utf-8-sig", newline="") as lines:
                yield from enumerate(csv.DictReader(lines), 1)
        elif file.suffix == ".jsonl":
            with file.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        yield number, _parsed(line, f"{file}:{number}")
        else:
            yield from enumerate(json.loads(file.read_text(encoding="utf-8-sig")), 1)
    except (OSError, ValueError) as error:
        raise VTBError(f"{file} cannot be read: {error}") from error


def _parsed(line: bytes, where: str) -> Any:
    try:
        return parse_line(line)
    except BadRow as error:
        raise VTBError(f"{where}: {error}") from error


def _parquet(file: Path) -> Iterator[Any]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise VTBError("tables need pyarrow: pip install 'nemo-vtb[tables]'") from error
    # Few at a time: a row may hold a recording.
    for batch in parquet.ParquetFile(file).iter_batches(64):
        yield from batch.to_pylist()
