"""Samples of recordings that libsndfile does not read, or not to their end.

Those are the formats of FFmpeg (m4a, mp4, webm, wma, ...), and files whose header does not say how long they are:
written to a pipe, or by a program that was killed.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import soundfile

from nemo_vtb.data.files.rows import BadRow

Readable = str | Path | IO[bytes]

# What FFmpeg may take a file for: containers and bare streams of sound. Playlists and the like name other files, which
# it would open.
_CONTAINERS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,gsm,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,"
    "mpeg,mpegts,nistsphere,oga,ogg,opus,rm,swf,tta,voc,w64,wav,wv,xwma"
)

_RIFF = (b"RIFF", b"RF64", b"BW64")
_AU_SIZE = slice(8, 12)
_HEAD = 4096


class Undecodable(Exception):
    """No library knows what the bytes are.

    Args:
        message: What the last one said.
        began: Whether samples came before it stopped.
    """

    def __init__(self, message: str, began: bool = False) -> None:
        super().__init__(message)
        self.began = began


def decode(file: Readable, start: float = 0.0, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """Decodes a recording without believing what its header says of its length.

    Args:
        file: A path, or an open file.
        start: Where to begin, in seconds.
        seconds: How much to return; None: all that follows.

    Returns:
        float32 ``(channels, samples)`` and the sampling rate in Hz.

    Raises:
        Undecodable: If it holds no audio that can be read, or stops in the middle.
        BadRow: If the library for it is not installed.
    """
    if (whole := _mended(_bytes(file, _HEAD), file)) is not None:
        with suppress(Exception), soundfile.SoundFile(whole) as audio:
            audio.seek(min(round(start * audio.samplerate), audio.frames))
            count = -1 if seconds is None else round(seconds * audio.samplerate)
            return audio.read(count, dtype="float32", always_2d=True).T, audio.samplerate
    return _by_pyav(file, start, seconds)


def blocks(file: Readable, most: int) -> Iterator[tuple[np.ndarray, int]]:
    """Decodes a recording piece by piece, as ``decode`` does, what libsndfile reads of itself first.

    Args:
        file: A path, or an open file.
        most: Samples of a piece; FFmpeg's are as they come.

    Yields:
        float32 ``(channels, samples)`` and the sampling rate in Hz.

    Raises:
        Undecodable: If it holds no audio that can be read, or stops in the middle.
        BadRow: If the library for it is not installed.
    """
    empty = False
    for opened in (lambda: file, lambda: _mended(_bytes(file, _HEAD), file)):
        _rewind(file)
        source = opened()
        try:
            audio = soundfile.SoundFile(source) if source is not None else None
        except soundfile.SoundFileError:
            audio = None
        if audio is None:
            continue
        with audio:
            some = False
            while len(read := _read(audio, most, some)):
                some = True
                yield read.T, audio.samplerate
        if some:
            return
        empty = True
    try:
        yield from _by_pyav_in_blocks(file)
    except Undecodable as error:
        # What libsndfile knows is a recording all the same, of no length.
        if error.began or not empty:
            raise


def _read(audio: soundfile.SoundFile, most: int, began: bool) -> np.ndarray:
    try:
        return audio.read(most, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        if began:
            raise Undecodable(str(error), began) from error
        return np.zeros((0, 1), np.float32)


def packets_seconds(file: Readable) -> float | None:
    """Returns how long the packets of a recording last, without decoding them; None where nobody can say."""
    try:
        import av

        _rewind(file)
        with _opened(av, file) as container:
            stream = container.streams.audio[0]
            ticks = sum(int(packet.duration or 0) for packet in container.demux(stream))
            return float(ticks * (stream.time_base or 0))
    except Exception:
        return None


def has_frame_table(file: Readable) -> bool:
    """Whether an MP3 says how many frames it has."""
    head = _bytes(file, 10)
    # The size of the tags in front, seven bits a byte.
    tags = 10 + sum(byte << 7 * place for place, byte in enumerate(reversed(head[6:10]))) if head[:3] == b"ID3" else 0
    first_frame = _bytes(file, tags + _HEAD)[tags:]
    return any(table in first_frame for table in (b"Xing", b"Info", b"VBRI"))


def _mended(head: bytes, file: Readable) -> io.BytesIO | None:
    """A WAV, RF64 or AU file with the length that its bytes have; None for anything else."""
    if head[:4] == b".snd":
        whole = bytearray(_bytes(file))
        whole[_AU_SIZE] = b"\xff" * 4
        return io.BytesIO(bytes(whole))
    if head[:4] not in _RIFF or head[8:12] != b"WAVE":
        return None
    layout, at = b"", 12
    while at + 8 <= len(head):
        name, (size,) = head[at : at + 4], struct.unpack("<I", head[at + 4 : at + 8])
        if name == b"data":
            samples = _bytes(file)[at + 8 :]
            length = struct.pack("<I", min(len(samples), 0xFFFF_FFFF))
            return io.BytesIO(b"RIFF" + b"\xff" * 4 + b"WAVE" + layout + b"data" + length + samples)
        if name == b"fmt ":
            layout = head[at : at + 8 + size]
        at += 8 + size + size % 2
    return None


def _pyav() -> Any:
    try:
        import av
    except ImportError as error:
        raise BadRow(
            "unreadable audio", "libsndfile cannot read it, and PyAV is not installed: pip install av"
        ) from error
    return av


def _by_pyav_in_blocks(file: Readable) -> Iterator[tuple[np.ndarray, int]]:
    av, began = _pyav(), False
    try:
        for samples, rate in _frames(av, file):
            began = True
            yield samples, rate
    except Undecodable:
        raise
    except Exception as error:
        raise Undecodable(_said(error), began) from error
    if not began:
        raise Undecodable("no sample in it can be decoded")


def _by_pyav(file: Readable, start: float, seconds: float | None) -> tuple[np.ndarray, int]:
    av = _pyav()
    parts: list[np.ndarray] = []
    rate = at = 0
    rates: set[int] = set()
    try:
        for samples, rate in _frames(av, file):
            if rates and rate not in rates:
                raise Undecodable("its sampling rate changes")
            rates.add(rate)
            first = round(start * rate)
            end = first + round(seconds * rate) if seconds is not None else None
            if end is not None and at >= end:
                break
            kept = samples[:, max(0, first - at) : None if end is None else max(0, end - at)]
            if kept.shape[1]:
                parts.append(kept.copy())
            at += samples.shape[1]
    except Exception as error:
        raise Undecodable(_said(error), at > 0) from error
    if not at:
        raise Undecodable("no sample in it can be decoded")
    return np.concatenate(parts, axis=1) if parts else np.zeros((1, 0), np.float32), rate


def _frames(av: Any, file: Readable) -> Iterator[tuple[np.ndarray, int]]:
    _rewind(file)
    with _opened(av, file) as container:
        if not container.streams.audio:
            raise Undecodable("there is no sound in it")
        floats = av.AudioResampler(format="fltp")
        for frame in container.decode(container.streams.audio[0]):
            for converted in floats.resample(frame):
                yield converted.to_ndarray(), converted.sample_rate


def _said(error: Exception) -> str:
    """The first line of an error; of FFmpeg's, without the file that the caller names."""
    words = str(getattr(error, "strerror", None) or error)
    return words.splitlines()[0] if words else type(error).__name__


def _opened(av: Any, file: Readable) -> Any:
    return av.open(
        str(file) if isinstance(file, (str, Path)) else file,
        options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"},
    )


def _bytes(file: Readable, count: int = -1) -> bytes:
    if isinstance(file, (str, Path)):
        with open(file, "rb") as opened:
            return opened.read(count)
    file.seek(0)
    return file.read(count)


def _rewind(file: Readable) -> None:
    if not isinstance(file, (str, Path)):
        file.seek(0)
