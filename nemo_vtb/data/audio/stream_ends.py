"""Where compressed and joined recordings end: their headers count what the first of several streams holds, or lie."""

import os
import re
import struct
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from nemo_vtb.data.audio.decode import Readable

_OGG_PAGE = struct.Struct("<4sBBqIIIB")
_BEGINS_STREAM, _ENDS_STREAM = 2, 4
_FLAC_WINDOW = 1 << 16
_FLAC_SYNC = re.compile(rb"\xff[\xf8\xf9]")
_STREAMINFO_BYTES = 42
_STREAMINFO = b"fLaC\0\0\0\x22"
_FLAC_BLOCKS = {1: 192, **{code: 576 << (code - 2) for code in range(2, 6)},
                **{code: 256 << (code - 8) for code in range(8, 16)}}  # fmt: skip


def ogg_is_chained(file: Readable) -> bool:
    """Whether an Ogg file holds several streams, one after the other; a look at the head of each page tells."""
    with _Reader(file) as reader:
        inside = False
        for flags, _ in _ogg_pages(reader):
            if flags & _BEGINS_STREAM and inside:
                return True
            inside = inside or not flags & _BEGINS_STREAM
    return False


def ogg_ends_early(file: Readable) -> bool:
    """Whether an Ogg file was cut: its last page is not all there, or does not say that the stream ends."""
    with _Reader(file) as reader:
        last = deque(_ogg_pages(reader), maxlen=1)
        return any(not flags & _ENDS_STREAM or end > reader.size for flags, end in last)


def _ogg_pages(reader: "_Reader") -> Iterator[tuple[int, int]]:
    """Yields the flags of each page and where it ends, up to what is no page."""
    at = 0
    while len(head := reader.at(at, _OGG_PAGE.size)) == _OGG_PAGE.size:
        magic, _, flags, _, _, _, _, segments = _OGG_PAGE.unpack(head)
        if magic != b"OggS":
            return
        at += _OGG_PAGE.size + segments + sum(reader.at(at + _OGG_PAGE.size, segments))
        yield flags, at


def flac_counts_wrong(file: Readable, samples: int) -> bool:
    """Whether the frames of a FLAC file do not run up to ``samples``: its header lies, it was cut, or is several files.

    Frames are found by their headers, which have a check sum of 8 bits: a yes is worth decoding the file, no more.
    """
    with _Reader(file) as reader:
        info = reader.at(0, _STREAMINFO_BYTES)
        if info[:4] != b"fLaC" or info[4] & 0x7F:
            return False
        smallest, largest = struct.unpack(">HH", info[8:12])
        windows = [reader.at(reader.size * quarter // 4, _FLAC_WINDOW) for quarter in (1, 2, 3)]
        tail = reader.at(max(0, reader.size - _FLAC_WINDOW), _FLAC_WINDOW)
    if next(_frame_ends(tail, smallest, largest, backwards=True), samples) != samples:
        return True
    ends = [end for window in windows for end in islice(_frame_ends(window, smallest, largest), 1)]
    return ends != sorted(ends)


def flac_is_joined(file: Readable) -> bool:
    """Whether a FLAC file begins anew within it; all of it is read."""
    with _Reader(file) as reader:
        return _STREAMINFO in reader.at(4, reader.size)


def wav_is_joined(file: Readable) -> bool:
    """Whether another WAV file follows the samples that the header of a WAV file counts."""
    with _Reader(file) as reader:
        at = 12 if reader.at(0, 4) == b"RIFF" else reader.size
        while len(chunk := reader.at(at, 8)) == 8:
            name, size = chunk[:4], struct.unpack("<I", chunk[4:])[0]
            at += 8 + size + size % 2
            if name == b"data":
                following = reader.at(at, 12)
                return following[:4] == b"RIFF" and following[8:] == b"WAVE"
    return False


def _frame_ends(data: bytes, smallest: int, largest: int, backwards: bool = False) -> Iterator[int]:
    places = (match.start() for match in _FLAC_SYNC.finditer(data))
    for at in reversed(list(places)) if backwards else places:
        if (end := _frame_end(data[at : at + 16], smallest, largest)) is not None:
            yield end


def _frame_end(head: bytes, smallest: int, largest: int) -> int | None:
    """The sample behind a frame of a FLAC file, if that is what the bytes begin with."""
    if len(head) < 6 or not head[2] >> 4 or head[2] & 15 == 15 or head[3] >> 4 > 10:
        return None
    number, length = _utf8(head[4:11])
    if not length:
        return None
    at, code = 4 + length, head[2] >> 4
    extra = {6: 1, 7: 2}.get(code, 0)
    block = _FLAC_BLOCKS.get(code) or int.from_bytes(head[at : at + extra], "big") + 1
    at += extra + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    if len(head) <= at or _crc8(head[:at]) != head[at] or block > largest:
        return None
    return (number if head[1] & 1 else number * smallest) + block


def _utf8(data: bytes) -> tuple[int, int]:
    """A number coded as UTF-8 does, of up to 36 bits, and of how many bytes."""
    if not data or data[0] == 0xFF or data[0] >> 6 == 2:
        return 0, 0
    ones = 8 - (data[0] ^ 0xFF).bit_length()
    length = max(1, ones)
    value = data[0] & (0x7F >> ones)
    for byte in data[1:length]:
        if byte >> 6 != 2:
            return 0, 0
        value = value << 6 | byte & 0x3F
    return value, length if len(data) >= length else 0


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


class _Reader:
    """Parts of a file by their offsets; one that was open stays so."""

    def __init__(self, file: Readable) -> None:
        self._own = isinstance(file, (str, Path))
        self._file = open(file, "rb") if isinstance(file, (str, Path)) else file  # noqa: SIM115 - closed on leaving
        self.size = self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._file.close()

    def at(self, offset: int, count: int) -> bytes:
        """Returns up to ``count`` bytes from ``offset``."""
        self._file.seek(offset)
        return self._file.read(count)
