"""Files that an index belongs to: when they changed, where something may be kept, who is at work, and gzip unpacked."""

import fcntl
import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from nemo_vtb.assets.cache import cache_root, make_folder
from nemo_vtb.data.files.copies import lines_of, needs_copy
from nemo_vtb.data.files.rows import open_lines
from nemo_vtb.errors import VTBError


def stamps(paths: Sequence[Path]) -> list[list[int]]:
    """Returns size and time of last change (ns) of each file."""
    return [[stat.st_size, stat.st_mtime_ns] for stat in (path.stat() for path in paths)]


def writable(folder: Path) -> bool:
    """Whether something can be kept in a folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Processes that share a file system take turns; the first makes what the others then find."""
    with open(f"{place}.lock", "w") as handle:
        # Some shared file systems know no locks: there every process makes the same file and one of them stays.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def plain(path: Path) -> Path:
    """Returns the file, or the copy of its rows in the cache folder where they cannot be read from the middle.

    That is so of ``.gz``, and of what ``copies.needs_copy`` says.

    Raises:
        VTBError: If it cannot be read to its end.
    """
    if path.suffix != ".gz" and not needs_copy(path):
        return path
    return _unpacked(path, *stamps([path])[0])


def open_rows(path: str | Path) -> Any:
    """Opens a file of rows for reading lines of bytes, whatever it is.

    Raises:
        VTBError: If there is no such file, or it cannot be read.
    """
    path = Path(path)
    return open(plain(path), "rb") if path.is_file() and needs_copy(path) else open_lines(path)


@cache
def _unpacked(path: Path, *stamp: int) -> Path:
    name = blake2b(f"{path.absolute()} {stamp}".encode(), digest_size=8).hexdigest()
    copy = make_folder(cache_root() / "index") / f"{path.stem}.{name}"
    with locked(copy):
        if not copy.is_file():
            partial = Path(f"{copy}.{os.getpid()}.partial")
            try:
                with open(partial, "wb") as file:
                    if path.suffix == ".gz":
                        with gzip.open(path, "rb") as packed:
                            shutil.copyfileobj(packed, file)
                    else:
                        file.writelines(lines_of(path))
            except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
                partial.unlink(missing_ok=True)
                raise VTBError(f"{path} cannot be read to its end: {error}") from error
            except VTBError:
                partial.unlink(missing_ok=True)
                raise
            partial.replace(copy)
    return copy
