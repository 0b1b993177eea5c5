"""The one door for sound: whatever a caller has becomes one channel at the model's rate, or one line that says why not.

A path, bytes, an open file, samples with their rate, a data URL, or what OpenAI's clients write: base64 of a file.
"""

import base64
import binascii
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from nemo_vtb.data.audio.one_channel import USUAL, Limits, Sound, check_size, decode_sound, sound_of_samples
from nemo_vtb.errors import VTBError

__all__ = ["USUAL", "Limits", "Sound", "Source", "of_part", "read_sound"]

# Samples come as ``(samples, rate)``, in either order: libraries differ.
Source = str | Path | bytes | bytearray | IO[bytes] | tuple[Any, Any] | Sound

# Of OpenAI's realtime clients.
_BARE = ("pcm", "g711", "raw", "s16")
_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]*/?[\w.+-]*)(?P<options>(?:;[^,;]*)*),", re.IGNORECASE)


def read_sound(source: Source, rate: int, limits: Limits = USUAL, name: str | None = None) -> Sound:
    """Reads a recording from wherever it is.

    Args:
        source: A path, with ``~`` for the home; a data URL; a file's bytes; an open file; ``(samples, rate)``.
        rate: Sampling rate to return, in Hz.
        limits: What is taken.
        name: What it is called in messages; a path is its own name.

    Returns:
        One channel at ``rate``.

    Raises:
        VTBError: If there is no such file, or no sound in it, or more than the limits allow; in one line.
    """
    if isinstance(source, Sound):
        return source if source.rate == rate else sound_of_samples(source.samples, source.rate, rate, source.name)
    if isinstance(source, tuple):
        return _of_tuple(source, rate, name or "the recording", limits)
    if isinstance(source, (bytes, bytearray)):
        return decode_sound(io.BytesIO(source), rate, name or "the recording", limits)
    if isinstance(source, str) and source[:5].lower() == "data:":
        data = _of_data_url(source, name or "the recording", limits)
        return decode_sound(io.BytesIO(data), rate, name or "the recording", limits)
    if isinstance(source, (str, Path)):
        return _of_path(source, rate, name, limits)
    if not hasattr(source, "read"):
        raise VTBError(f"{type(source).__name__} is no recording: give a path, bytes, a file, or (samples, rate)")
    return decode_sound(_seekable(source, limits), rate, name or _name_of(source), limits)


def of_part(part: Mapping[str, Any], where: str, limits: Limits, local: bool) -> Source:
    """What the part of an OpenAI message says of a recording, for ``read_sound``.

    Args:
        part: Of type ``input_audio`` (base64 under ``data``), ``audio_url`` (a data URL), or, where files of this
            machine may be named, ``audio`` (any source).
        where: The part's place, for messages.
        limits: The size is checked before anything is decoded.
        local: Whether paths may be named.

    Raises:
        VTBError: Names the place and what is wrong there.
    """
    kind = part.get("type")
    if kind == "audio" and local:
        if part.get("audio") is None:
            raise VTBError(f"{where}: a part of type audio has its recording under 'audio'")
        return part["audio"]
    held = part.get(str(kind))
    if kind == "audio_url":
        url = held.get("url") if isinstance(held, Mapping) else held
        if not isinstance(url, str) or url[:5].lower() != "data:":
            raise VTBError(
                f"{where}: audio_url takes a data URL, data:audio/wav;base64,...; other addresses are not fetched"
            )
        return _of_data_url(url, where, limits)
    form = str(held.get("format") or "").lower() if isinstance(held, Mapping) else ""
    if form.startswith(_BARE):
        raise VTBError(f"{where}: format {form} is samples without a header, whose rate nobody knows: send a wav file")
    data = held.get("data") if isinstance(held, Mapping) else None
    if not isinstance(data, str) or not data:
        raise VTBError(f"{where}: input_audio holds 'data', the file in base64, and 'format'")
    return _of_base64(data, where, limits)


def _of_path(source: str | Path, rate: int, name: str | None, limits: Limits) -> Sound:
    try:
        path = Path(source).expanduser()
        is_file, exists = path.is_file(), path.exists()
    except (OSError, RuntimeError, ValueError) as error:
        raise VTBError(f"no recording at {str(source)[:200]!r}: {error}") from error
    if not is_file:
        raise VTBError(f"no recording at {source}" + (": that is no file" if exists else ""))
    try:
        return decode_sound(path, rate, name or str(source), limits)
    except OSError as error:
        raise VTBError(f"{source} cannot be opened: {error.strerror}") from error


def _of_tuple(source: tuple[Any, Any], rate: int, name: str, limits: Limits) -> Sound:
    if len(source) != 2:
        raise VTBError(f"{name}: samples come with their rate, (samples, rate)")
    samples, own_rate = source
    if np.ndim(samples) == 0:
        samples, own_rate = own_rate, samples
    if np.ndim(own_rate) != 0 or isinstance(own_rate, str) or own_rate != int(own_rate):
        raise VTBError(f"{name}: samples come with their rate, (samples, rate), a whole number of Hz")
    if hasattr(samples, "detach"):
        samples = samples.detach().cpu().numpy()
    return sound_of_samples(np.asarray(samples), int(own_rate), rate, name, limits)


def _of_data_url(url: str, name: str, limits: Limits) -> bytes:
    match = _DATA_URL.match(url)
    if match is None or ";base64" not in match["options"].lower():
        raise VTBError(f"{name}: a recording's data URL begins data:audio/wav;base64,")
    return _of_base64(url[match.end() :], name, limits)


def _of_base64(text: str, name: str, limits: Limits) -> bytes:
    check_size(len(text) * 3 // 4, name, limits)
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise VTBError(f"{name}: that is no base64: {error}") from error


def _seekable(file: IO[bytes], limits: Limits) -> IO[bytes]:
    if not isinstance(file.read(0), bytes):
        raise VTBError(f"{_name_of(file)} is open for text: open it with 'rb'")
    seekable = getattr(file, "seekable", None)
    if seekable is not None and seekable():
        return file
    return io.BytesIO(file.read(int(limits.megabytes * 2**20) + 1))


def _name_of(file: Any) -> str:
    name = getattr(file, "name", None)
    return name if isinstance(name, str) else "the recording"
