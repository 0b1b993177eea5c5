"""Any recording as one channel at one rate, decoded block by block: what is refused is refused before it is held.

libsndfile is asked first, then what mends headers without a length, then FFmpeg.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from nemo_vtb.data.audio.audio_check import LOUDEST, SILENCE
from nemo_vtb.data.audio.decode import Readable, Undecodable, blocks
from nemo_vtb.data.audio.headers import ends_early
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line

_BLOCK = 1 << 16
# Below it no word is heard, and features of less may be no numbers: shorter clips end in silence up to there.
SHORTEST_SECONDS = 0.1
_RATES = (1_000, 384_000)


class Limits(NamedTuple):
    """What a recording may be.

    Attributes:
        megabytes: As it comes, 2^20 bytes each.
        seconds: Decoded.
        channels: Of which the mean is heard.
    """

    megabytes: float = 256.0
    seconds: float = 1800.0
    channels: int = 32


USUAL = Limits()


class Sound(NamedTuple):
    """A recording as a model hears it.

    Attributes:
        samples: float32 ``(samples,)``, full scale -1 to 1.
        rate: In Hz.
        name: What it is called in messages.
        seconds: As it came; ``samples`` may end in silence.
        notes: What a person should know of it: that it is silent, too short for a word, or was cut off.
    """

    samples: np.ndarray
    rate: int
    name: str
    seconds: float
    notes: tuple[str, ...] = ()


def decode_sound(file: Readable, rate: int, name: str, limits: Limits = USUAL) -> Sound:
    """Decodes a recording.

    Args:
        file: A path, or an open file that can be wound back.
        rate: In Hz, of what is returned.
        name: What it is called in messages.
        limits: Checked while it is decoded.

    Raises:
        VTBError: If it is no recording, holds no sound, samples that are no numbers, or more than the limits allow.
    """
    size = Path(file).stat().st_size if isinstance(file, (str, Path)) else _size(file)
    check_size(size, name, limits)
    if not size:
        raise VTBError(f"{name} is empty: it holds no audio")
    try:
        sound = _joined(blocks(file, _BLOCK), rate, name, limits)
        if not isinstance(file, (str, Path)):
            file.seek(0)
        cut = ends_early(file)
        return sound._replace(notes=(*sound.notes, f"{name} {cut}: is it cut off?")) if cut else sound
    except (Undecodable, BadRow, soundfile.SoundFileError) as error:
        raise VTBError(f"{name} cannot be read as audio: {first_line(error)}") from error


def sound_of_samples(samples: np.ndarray, own_rate: int, rate: int, name: str, limits: Limits = USUAL) -> Sound:
    """Takes samples that are decoded already.

    Args:
        samples: ``(samples,)``, or two-dimensional with channels along the shorter side; integers of 8, 16 or 32 bits
            have their own full scale.
        own_rate: Theirs, in Hz.
        rate: See ``decode_sound``.
        name: See ``decode_sound``.
        limits: See ``decode_sound``.

    Raises:
        VTBError: See ``decode_sound``; or if the array has another shape or type.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu":
        raise VTBError(f"{name} is an array {samples.shape} of {samples.dtype}; give (samples,) numbers and their rate")
    check_size(samples.nbytes, name, limits)
    by_channel = samples[None] if samples.ndim == 1 else samples
    if by_channel.shape[0] > by_channel.shape[1]:
        by_channel = by_channel.T
    floats: np.ndarray
    if samples.dtype.kind == "f":
        floats = by_channel.astype(np.float32)
    else:
        info = np.iinfo(samples.dtype)
        middle = 0.0 if info.min < 0 else (info.max + 1) / 2
        floats = ((by_channel - middle) / ((float(info.max) - info.min + 1) / 2)).astype(np.float32)
    return _joined(iter([(floats, int(own_rate))]), rate, name, limits)


def check_size(size: int, name: str, limits: Limits) -> None:
    """Refuses what is too large.

    Raises:
        VTBError: Says both sizes.
    """
    if size > limits.megabytes * 2**20:
        raise VTBError(f"{name} has {size / 2**20:.1f} MB; at most {limits.megabytes:g} are taken")


def _joined(parts: Iterator[tuple[np.ndarray, int]], rate: int, name: str, limits: Limits) -> Sound:
    import soxr

    kept: list[np.ndarray] = []
    stream, own_rate, count = None, -1, 0
    for block, now in parts:
        if now != own_rate:
            if own_rate >= 0:
                raise VTBError(f"{name} changes its sampling rate from {own_rate} to {now} Hz: encode it again")
            own_rate = _checked_rate(now, name)
            stream = soxr.ResampleStream(own_rate, rate, 1, dtype="float32") if own_rate != rate else None
        if len(block) > limits.channels:
            raise VTBError(f"{name} has {len(block)} channels; at most {limits.channels} are taken")
        mono = block.mean(axis=0, dtype=np.float32) if len(block) > 1 else block[0]
        if not np.isfinite(mono).all():
            raise VTBError(f"{name} holds samples that are not numbers: encode it again")
        count += len(mono)
        if count > limits.seconds * own_rate:
            raise VTBError(f"{name} is longer than {limits.seconds:g} s, which is the most that is taken: cut it")
        kept.append(mono if stream is None else stream.resample_chunk(mono))
    if not count:
        raise VTBError(f"{name} holds no audio: it has no samples")
    if stream is not None:
        kept.append(stream.resample_chunk(np.zeros(0, np.float32), last=True))
    samples = np.concatenate(kept)
    seconds = count / own_rate
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > LOUDEST:
        raise VTBError(f"{name} holds samples up to {peak:.3g}; full scale is -1 to 1: divide integers by theirs")
    notes = []
    if seconds < SHORTEST_SECONDS:
        notes.append(f"{name} is {seconds * 1000:.0f} ms long: too short to hold a word")
    if peak < SILENCE:
        notes.append(f"{name} is silent: whatever is said of it is made up")
    least = int(SHORTEST_SECONDS * rate)
    if len(samples) < least:
        samples = np.pad(samples, (0, least - len(samples)))
    return Sound(np.ascontiguousarray(samples, dtype=np.float32), rate, name, seconds, tuple(notes))


def _checked_rate(rate: int, name: str) -> int:
    least, most = _RATES
    if not least <= rate <= most:
        raise VTBError(f"{name} says that it has {rate} samples a second; {least} to {most} are taken")
    return rate


def _size(file: Readable) -> int:
    assert not isinstance(file, (str, Path))
    size = file.seek(0, 2)
    file.seek(0)
    return size
