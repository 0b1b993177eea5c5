"""What a recording says of itself. Measured once: an index keeps it, and training notices a recording that changed."""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import IO, NamedTuple

import soundfile
from lhotse import Recording

from nemo_vtb.data.audio.decode import Readable, Undecodable, decode, has_frame_table, packets_seconds
from nemo_vtb.data.audio.stream_ends import (
    flac_counts_wrong,
    flac_is_joined,
    ogg_ends_early,
    ogg_is_chained,
    wav_is_joined,
)
from nemo_vtb.data.files.rows import BadRow

# A manifest may claim a little more than the file holds: codecs round to frames. The paper's recipe allows the same.
TOLERANCE_SECONDS = 0.3
# What libsndfile says of a WAV whose header promises another number of bytes than follow.
_PROMISED = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
# Written by programs that could not know the length: a promise of nothing.
_UNKNOWN_BYTES = 0x7FFF_0000
# What it says where samples follow those that the header counts: it was written before they were.
_FOLLOWED = re.compile(r"^data : (\d+)\n.*?[Uu]nknown chunk marker", re.MULTILINE | re.DOTALL)
# Lengths that are none: FLAC has 36 bits for them, and libsndfile says 2^63 - 1 where it knows nothing.
_ENDLESS = 2**36 - 1
# In Hz. To resample from a damaged one takes more memory than there is; of fewer, kilohertz were meant.
_SLOWEST, _FASTEST = 1_000, 1_000_000
# An MP3 may come without a table of its frames, or with that of another file: libsndfile then guesses.
_GUESSED = ("MP3",)
_RIFF = ("WAV", "WAVEX", "RF64")
# libsndfile goes through these from front to back only; spans are read from the middle.
_UNSEEKABLE = ("GSM610", "G721_32", "G723_24", "G723_40", "VOX_ADPCM")
_MP3_FRAME = 1152


class Described(NamedTuple):
    """What a recording is.

    Attributes:
        rate: Sampling rate in Hz.
        samples: Per channel.
        channels: How many.
        plain: Whether libsndfile reads all of it; else ``decode`` does.
    """

    rate: int
    samples: int
    channels: int
    plain: bool = True


class Measured(NamedTuple):
    """What a recording was when it was measured, and a digest of its file's size and time of change."""

    stamp: int
    described: Described


class HeaderBook:
    """The headers of one row's recordings.

    Args:
        known: Those measured before, by ``name_key``.

    Attributes:
        found: Those that were measured now; None where one name stands for different recordings.
    """

    def __init__(self, known: Mapping[int, Measured] | None = None) -> None:
        self._known = known or {}
        self.found: dict[int, Measured | None] = {}

    def look_up(self, name: str, path: str | Path, measure: Callable[[], Described]) -> Described:
        """Returns what is known of an unchanged file, or measures it.

        Raises:
            BadRow: If it is another recording than when it was measured.
        """
        key, stamp = name_key(name), _stamp(path)
        before = self._known.get(key)
        if before is not None and before.stamp == stamp:
            return before.described
        described = measure()
        if before is not None and before.described[:3] != described[:3]:
            raise BadRow("changed file", f"{name} {_in_words(described)}; when it was measured it {_had(before)}")
        measured = Measured(stamp, described)
        self.found[key] = measured if self.found.get(key, measured) == measured else None
        return described


_book: ContextVar[HeaderBook | None] = ContextVar("book", default=None)


@contextmanager
def measured(book: HeaderBook) -> Iterator[HeaderBook]:
    """Headers asked for inside are looked up in ``book``."""
    token = _book.set(book)
    try:
        yield book
    finally:
        _book.reset(token)


def header(path: str | Path, name: str, label: str, opener: Callable[[], IO[bytes]] | None = None) -> Described:
    """Returns what a recording is; see ``describe``.

    Args:
        path: The file it is in.
        name: What its row calls it: the same wherever the corpus lies.
        label: What it is called in messages.
        opener: Opens it where it is only a part of the file.
    """

    def measure() -> Described:
        if opener is None:
            return _of_file(str(path), label, _stamp(path)) if os.path.isfile(path) else describe(path, label)
        with opener() as opened:
            return describe(opened, label)

    book = _book.get()
    return measure() if book is None else book.look_up(name, path, measure)


def measured_file(path: str) -> Measured | None:
    """Measures a file as ``header`` does; None where there is none.

    Raises:
        BadRow: As ``describe``.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    stamp = _digest(found)
    return Measured(stamp, _of_file(path, path, stamp))


@lru_cache(maxsize=1 << 16)
def _of_file(path: str, label: str, stamp: int) -> Described:
    """What a file is as long as its stamp is the same: many rows may be about one recording."""
    return describe(path, label)


@lru_cache(maxsize=1 << 12)
def name_key(name: str) -> int:
    """Returns 64 bits for the name of a recording."""
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def describe(file: Readable, name: str) -> Described:
    """Reads the header of a recording, and decodes all of it where the header does not say how long it is.

    Args:
        file: A path, or an open file.
        name: What the recording is called in messages.

    Raises:
        BadRow: If it is no audio, empty, or a WAV that was cut short.
    """
    try:
        info = soundfile.info(file, verbose=True)
        found = Described(int(info.samplerate), int(info.frames), int(info.channels))
    except Exception as error:
        found = _by_decoding(file, name, error)
    else:
        if cut := _cut_short(info):
            raise BadRow("truncated audio", f"{name} {cut}")
        found = _believed(file, name, found, info)
    if found.rate > _FASTEST:
        raise BadRow("unreadable audio", f"the header of {name} says {found.rate} Hz: no recording has as many")
    if 0 < found.rate < _SLOWEST:
        raise BadRow("unreadable audio", f"the header of {name} says {found.rate} Hz: no speech is heard in as few")
    if found.samples <= 0 or found.rate <= 0 or found.channels <= 0:
        raise BadRow("zero length", f"{name} holds no samples")
    return found


def ends_early(file: Readable) -> str:
    """Says how a recording that can be decoded shows that it was cut off, in words that follow its name; else nothing.

    Args:
        file: A path, or an open file that can be wound back.
    """
    try:
        info = soundfile.info(file, verbose=True)
    except soundfile.SoundFileError:
        return ""
    if cut := _cut_short(info):
        return cut
    return "does not say where it ends" if info.format == "OGG" and ogg_ends_early(file) else ""


def _cut_short(info: "soundfile._SoundFileInfo") -> str:
    promised = _PROMISED.search(info.extra_info)
    if promised and int(promised[2]) < int(promised[1]) < _UNKNOWN_BYTES:
        return f"holds {promised[2]} of {promised[1]} bytes of samples"
    return ""


def _believed(file: Readable, name: str, found: Described, info: "soundfile._SoundFileInfo") -> Described:
    """What the header says, or what decoding gives where it says nothing or cannot be right."""
    if info.format in _GUESSED:
        seconds = packets_seconds(file)
        # A decoder leaves out the padding of the first and the last frames.
        if seconds is None or abs(seconds * found.rate - found.samples) <= 4 * _MP3_FRAME:
            return found
        promised_seconds = found.samples / found.rate
        if seconds < promised_seconds and has_frame_table(file):
            raise BadRow("truncated audio", f"{name} holds {seconds:.2f} of {promised_seconds:.2f} s")
        return _counted(file, name)
    if info.subtype in _UNSEEKABLE or (info.format == "OGG" and ogg_is_chained(file)):
        return _counted(file, name)
    if info.format == "FLAC" and found.samples and flac_counts_wrong(file, found.samples):
        if flac_is_joined(file):
            raise BadRow("unreadable audio", f"{name} is several FLAC files one after the other: join their samples")
        return _counted(file, name)
    counted = _FOLLOWED.search(info.extra_info) if info.format in _RIFF else None
    if counted and int(counted[1]) < _size(file) // 2:
        return _counted(file, name)
    if found.samples >= _ENDLESS:
        return _counted(file, name)
    if found.samples == 0:
        try:
            return _counted(file, name)
        except BadRow:
            return found
    return found


def _counted(file: Readable, name: str) -> Described:
    try:
        samples, rate = decode(file)
    except Undecodable as error:
        reason = "truncated audio" if error.began else "unreadable audio"
        raise BadRow(
            reason, f"{name} does not say how long it is, and cannot be decoded to its end: {error}"
        ) from error
    return Described(rate, samples.shape[1], samples.shape[0], plain=False)


def _by_decoding(file: Readable, name: str, error: Exception) -> Described:
    """Formats that libsndfile does not know: those of FFmpeg, and those of Lhotse's other backends."""
    if not _size(file):
        raise BadRow("unreadable audio", f"{name} cannot be read as audio: it is empty, 0 bytes") from error
    if wav_is_joined(file):
        raise BadRow("unreadable audio", f"{name} is several WAV files one after the other: join their samples")
    try:
        samples, rate = decode(file)
        return Described(rate, samples.shape[1], samples.shape[0], plain=False)
    except BadRow as missing:
        reason = str(missing)
    except Undecodable as undecodable:
        if undecodable.began:
            raise BadRow("truncated audio", f"{name} cannot be decoded to its end: {undecodable}") from undecodable
        reason = str(undecodable)
    try:
        if not isinstance(file, (str, Path)):
            raise error
        recording = Recording.from_file(file)
        return Described(recording.sampling_rate, recording.num_samples, recording.num_channels)
    except Exception:
        raise BadRow("unreadable audio", f"{name} cannot be read as audio: {reason}") from error


def _size(file: Readable) -> int:
    return os.path.getsize(file) if isinstance(file, (str, Path)) else file.seek(0, os.SEEK_END)


def _stamp(path: str | Path) -> int:
    return _digest(os.stat(path))


def _digest(found: os.stat_result) -> int:
    digest = blake2b(b"%d %d" % (found.st_size, found.st_mtime_ns), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _in_words(described: Described) -> str:
    seconds = described.samples / described.rate
    return f"has {seconds:.2f} s at {described.rate} Hz, {described.channels} channels"


def _had(before: Measured) -> str:
    return _in_words(before.described).replace("has", "had", 1)
