"""Files that are whole or absent: written under another name beside them, which they lose by one rename."""

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from nemo_vtb.errors import VTBError

# Of a disk, or of what its owner may have of it.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The name to write under; at a clean end it becomes ``path``, and nothing is left otherwise.

    Raises:
        VTBError: If it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise unwritten(path, error) from error
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a file, its lines ending as they do in ``text``.

    Raises:
        VTBError: If it cannot be written.
    """
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a JSONL file.

    Raises:
        VTBError: If it cannot be written.
    """
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Reads a JSONL file; an absent one has no rows."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def unwritten(path: Path, error: OSError) -> VTBError:
    """Says what could not be written, and what to do."""
    if error.errno not in FULL:
        return VTBError(f"cannot write {path}: {error.strerror or error}")
    return VTBError(
        f"no space left for {path} ({error.strerror}): what is whole is kept; free some space and run the same "
        "command again"
    )
