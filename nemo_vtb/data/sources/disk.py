"""Keeping what belongs to files: beside them or in the cache, on disks that are shared, read-only or full."""

import fcntl
import glob
import gzip
import os
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

from nemo_vtb.assets.cache import cache_root
from nemo_vtb.data.files.rows import open_lines
from nemo_vtb.data.sources.copies import FORM, lines_of, needs_copy
from nemo_vtb.errors import VTBError

_GZIP = b"\x1f\x8b"
_BLOCK_BYTES = 1 << 20
_CACHE_HINT = "set NEMO_VTB_CACHE to a folder you can write to, with room"


def stamps(paths: Sequence[Path]) -> list[list[int]]:
    """Returns size and time of last change (ns) of each file."""
    return [[stat.st_size, stat.st_mtime_ns] for stat in (path.stat() for path in paths)]


def keep(places: Sequence[Path], write: Callable[[IO[bytes]], None], there: Callable[[Path], bool], what: str) -> Path:
    """Makes a file in the first place that takes it, unless another process has made it meanwhile.

    A file appears whole or not at all, and nothing stays where it does not fit.

    Args:
        places: Where it may be, the best first.
        write: Writes it.
        there: Whether it is in a place, and of use.
        what: What it is called in messages.

    Returns:
        The place that has it.

    Raises:
        VTBError: If no place takes it.
    """
    refused = []
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with _locked(place) as alone:
                if not there(place):
                    _write(place, write, alone)
            return place
        except OSError as error:
            _tidy(place)
            refused.append(f"{place.parent}: {error.strerror or error}")
    raise VTBError(f"{what} cannot be kept anywhere ({'; '.join(refused)}); {_CACHE_HINT}")


def plain(path: Path) -> Path:
    """Returns the file, or the copy of its rows in the cache folder where they cannot be read from the middle.

    That is so of ``.gz``, and of what ``copies.needs_copy`` says.

    Raises:
        VTBError: If it cannot be read to its end, or its copy fits nowhere.
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


def is_gzip(path: Path) -> bool:
    """Whether a file begins as gzip does."""
    with open(path, "rb") as file:
        return file.read(len(_GZIP)) == _GZIP


@cache
def _unpacked(path: Path, *stamp: int) -> Path:
    if path.suffix == ".gz" and path.stat().st_size and not is_gzip(path):
        raise VTBError(f"{path} is no gzip file in spite of its name: take .gz off its name, or download it again")
    name = blake2b(f"{path.absolute()} {stamp} {FORM}".encode(), digest_size=8).hexdigest()
    folders = (cache_root() / "index", path.absolute().parent / ".vtb_index")
    places = [folder / f"{path.stem}.{name}" for folder in folders]
    for place in filter(_readable, places):
        return place

    def copy(file: IO[bytes]) -> None:
        for block in _blocks(path):
            file.write(block)

    return keep(places, copy, _readable, f"the copy of the rows of {path}")


def _readable(place: Path) -> bool:
    return place.is_file() and os.access(place, os.R_OK)


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        if path.suffix == ".gz" and not needs_copy(path):
            with gzip.open(path, "rb") as packed:
                while block := packed.read(_BLOCK_BYTES):
                    yield block
        else:
            yield from lines_of(path)
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise VTBError(f"{path} cannot be read to its end: {error}") from error


@contextmanager
def _locked(place: Path) -> Iterator[bool]:
    """Processes that share a file system take turns; the first makes what the others then find.

    Yields:
        Whether there can be nobody else at work.
    """
    try:
        handle = open(f"{place}.lock", "a")  # noqa: SIM115 - closed below
    except PermissionError:  # somebody else's: both make the same file, and one of them stays
        yield False
        return
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:  # some shared file systems know no locks: there, too, one of them stays
            yield False
            return
        yield True


def _write(place: Path, write: Callable[[IO[bytes]], None], alone: bool) -> None:
    partial = Path(f"{place}.{os.getpid()}.partial")
    killed = place.parent.glob(f"{glob.escape(place.name)}.*.partial") if alone else ()
    for abandoned in killed:
        with suppress(OSError):
            abandoned.unlink()
    try:
        with open(partial, "wb") as file:
            write(file)
        partial.replace(place)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _tidy(place: Path) -> None:
    with suppress(OSError):
        Path(f"{place}.lock").unlink(missing_ok=True)
        place.parent.rmdir()
