"""Random access to the members of an uncompressed tar, and the refusal of tars that try to write elsewhere.

Nothing is ever unpacked to disk; names that climb out of a folder are refused all the same, since whoever made such a
tar meant harm, and other tools that read it would be harmed.
"""

import tarfile
from array import array
from dataclasses import dataclass
from hashlib import blake2b
from io import BufferedReader, BytesIO, RawIOBase
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from lhotse import Recording

from nemo_vtb.data.audio.headers import header
from nemo_vtb.data.audio.recordings import BytesSource, recording_of
from nemo_vtb.data.files.spelling import normalised
from nemo_vtb.errors import VTBError

_SHAR_METADATA = (".json", ".nometa", ".nodata")


@dataclass(frozen=True)
class TarMember:
    """A file inside a tar: where its bytes are."""

    tar: Path
    offset: int
    size: int

    def open(self) -> BufferedReader:
        """Opens the member for reading; only what is asked for is read."""
        return BufferedReader(_Slice(self.tar, self.offset, self.size))

    def read(self) -> bytes:
        """Returns all bytes."""
        with open(self.tar, "rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def recording(self, name: str) -> Recording:
        """Returns a recording that reads its samples from the tar when asked for.

        Raises:
            BadRow: As ``headers.describe``.
        """
        label = f"{self.tar}/{name}"
        found = header(self.tar, f"{self.tar.name}/{name}", label, self.open)
        source = TarAudioSource("file", list(range(found.channels)), label, member=self, plain=found.plain)
        return recording_of(source, found)


@dataclass
class TarAudioSource(BytesSource):
    """Lhotse's AudioSource for a member of a tar; ``source`` is a name for people.

    Attributes:
        member: Where its bytes are.
    """

    member: TarMember | None = None

    def _prepare_for_reading(self, offset: float, duration: float | None) -> Any:
        assert self.member is not None
        return BytesIO(self.member.read())


class TarIndex:
    """Offsets of the members of a tar, 24 bytes each.

    Args:
        path: The tar, uncompressed.
        by_stem: Find members by their names without the last suffix, as in Lhotse Shar, where ``id.flac`` and
            ``id.json`` belong together; the ``.json`` is left out.

    Attributes:
        damage: Why the tar could not be read to its end, or None.

    Raises:
        VTBError: If it is missing or compressed, or holds links, devices, absolute names or names with ``..``.
    """

    def __init__(self, path: Path, by_stem: bool = False) -> None:
        if not path.is_file():
            raise VTBError(f"no such file: {path}")
        self.path = path
        names, places, self.damage = _members(path, by_stem)
        hashes = np.frombuffer(names, dtype=np.uint64) if names else np.zeros(0, dtype=np.uint64)
        order = np.argsort(hashes, kind="stable")
        self._names = hashes[order]
        self._places = np.array(places, dtype=np.int64).reshape(-1, 2)[order]
        # NeMo's writer stores a clip once for each turn it occurs in.
        for at in np.flatnonzero(self._names[1:] == self._names[:-1]).tolist():
            one, other = self._member(at), self._member(at + 1)
            if one.read() != other.read():
                raise VTBError(
                    f"{path} holds different members under one name, at bytes {one.offset} and {other.offset}: "
                    "clips are found by name, so give each recording a name of its own"
                )

    def __len__(self) -> int:
        return len(self._names)

    def find(self, name: str) -> TarMember | None:
        """Returns a member by its name, or None."""
        key = np.uint64(name_hash(name))
        at = int(np.searchsorted(self._names, key))
        if at == len(self._names) or self._names[at] != key:
            return None
        return self._member(at)

    def _member(self, at: int) -> TarMember:
        offset, size = self._places[at]
        return TarMember(self.path, int(offset), int(size))


def _members(path: Path, by_stem: bool) -> tuple[array, array, str | None]:
    """Hashes of the names, offsets and sizes of all that can be read, and why that is not all."""
    names, places = array("Q"), array("q")
    end = path.stat().st_size
    if not end:
        return names, places, "empty: 0 bytes"
    try:
        with tarfile.open(path, "r:") as tar:
            last = -1
            while (info := tar.next()) is not None:
                # A header may hold a negative size, on which tarfile would go back and forth for ever.
                if info.offset <= last or info.size < 0 or info.offset_data + info.size > end:
                    return names, places, f"cut short or damaged at byte {max(info.offset, last)}"
                last = info.offset
                # tarfile keeps every header; of a million members that is a gigabyte.
                tar.members = []  # type: ignore[attr-defined]
                if not _is_file(info, path) or (by_stem and info.name.endswith(_SHAR_METADATA)):
                    continue
                names.append(name_hash(info.name.rpartition(".")[0] if by_stem else info.name))
                places.extend((info.offset_data, info.size))
            # tarfile takes a damaged header for the end of the archive.
            return names, places, _unfinished(path, tar.offset)
    except VTBError:
        raise
    except Exception as error:
        if not names:
            raise VTBError(
                f"{path} is no uncompressed tar ({error}); clips are read at their offsets, so unpack .gz first"
            ) from error
        return names, places, f"cut short or damaged: {error}"


def name_hash(name: str) -> int:
    """Returns 64 bits for a member's name, a leading ``./`` and the Unicode normalisation left out."""
    encoded = normalised(name.removeprefix("./")).encode("utf-8", "surrogateescape")
    return int.from_bytes(blake2b(encoded, digest_size=8).digest(), "big")


def _unfinished(path: Path, offset: int) -> str | None:
    with open(path, "rb") as file:
        file.seek(offset)
        return f"damaged at byte {offset}" if file.read(tarfile.BLOCKSIZE).strip(b"\0") else None


def _is_file(info: tarfile.TarInfo, path: Path) -> bool:
    name = PurePosixPath(info.name)
    if name.is_absolute() or ".." in name.parts:
        raise VTBError(f"{path}: member {info.name!r} points outside the archive; the tar is refused")
    if not (info.isreg() or info.isdir()):
        raise VTBError(f"{path}: member {info.name!r} is a link or a device; the tar is refused")
    return info.isreg()


class _Slice(RawIOBase):
    """A part of a file as a file of its own."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed with this object
        self._offset, self._size, self._at = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._offset + self._at)
        data = self._file.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
