"""Rows of a file one after another, for tests of parsers; training reads through the index."""

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from nemo_vtb.data.files.rows import BadRow, BadRows, open_lines, parse_line
from nemo_vtb.errors import VTBError

T = TypeVar("T")


def parsed_rows(path: str | Path, parse: Callable[[dict[str, Any], str], T], bad: BadRows) -> Iterator[T]:
    """Parses each line of a JSONL file.

    Args:
        path: The file, plain or ``.gz``.
        parse: Takes a row and its position ``file:line``; raises BadRow.
        bad: The counter; its limit is checked at the end of the file.

    Raises:
        VTBError: If the file is missing or no whole gzip file, or too many rows are bad.
    """
    with open_lines(path) as lines:
        try:
            for number, line in enumerate(lines, start=1):
                where = f"{path}:{number}"
                if not line.strip():
                    continue
                try:
                    parsed = parse(parse_line(line), where)
                except BadRow as error:
                    bad.skip(error.reason, f"{where}: {error}")
                else:
                    bad.good += 1
                    yield parsed
        except (EOFError, gzip.BadGzipFile, OSError) as error:
            raise VTBError(f"{path} cannot be read to its end: {error}") from error
    bad.check(str(path))
