"""Recordings inside a page."""

import base64
from pathlib import Path
from typing import NamedTuple

MIME_TYPES = {
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".webm": "audio/webm",
}


class Clip(NamedTuple):
    """A clip as a data URL, or why there is none."""

    source: str = ""
    absent: str = ""


def playable(clip: bytes | str | Path) -> Clip:
    """Reads a clip into a page.

    Args:
        clip: A file of a format that browsers play, or the bytes of a FLAC file.
    """
    if isinstance(clip, bytes):
        return _embedded(clip, ".flac")
    path = Path(clip)
    if path.suffix.lower() not in MIME_TYPES:
        return Clip(absent=f"No browser plays {path.name}.")
    try:
        return _embedded(path.read_bytes(), path.suffix.lower())
    except OSError as error:
        return Clip(absent=f"The clip cannot be read: {path} ({error.strerror or ''})")


def _embedded(clip: bytes, suffix: str) -> Clip:
    return Clip(f"data:{MIME_TYPES[suffix]};base64,{base64.b64encode(clip).decode('ascii')}")
