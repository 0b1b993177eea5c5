"""The ways in which a field names a recording: a path, a data URL, base64, samples, a cell of a table.

Any of these may stand within the objects of OpenAI, Transformers, Qwen and `datasets`.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from io import BytesIO
from pathlib import PurePath
from typing import Any
from urllib.parse import unquote

from lhotse import Recording

from nemo_vtb.data.audio.headers import describe
from nemo_vtb.data.audio.recordings import BytesSource, recording_of
from nemo_vtb.data.audio.tables import CELL
from nemo_vtb.data.files.locations import path_of_url, remote_remedy
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.row_forms.fields import names_clip_file
from nemo_vtb.data.row_forms.values import clean, is_empty

_DATA_URL = re.compile(r"data:[\w.+/-]*(;[\w=.+-]+)*,", re.ASCII)
# RIFF, fLaC, OggS, ID3, ftyp behind a size: how base64 of a recording begins.
_BASE64 = ("UklGR", "ZkxhQ", "T2dnUw", "SUQz", "AAAAGGZ0eX", "AAAAIGZ0eX", "//uQ", "//vQ")
_INSIDE = ("audio", "input_audio", "audio_url", "sound", "speech", "path", "url", "uri", "file", "filename",
           "file_name", "filepath", "audio_filepath", "audio_path", "value")  # fmt: skip
_DEPTH = 4


@dataclass(frozen=True)
class Cell:
    """Bytes of a recording that a table holds.

    Attributes:
        row: Number of the row.
        place: Column, then keys and positions within it.
    """

    row: int
    place: tuple[str | int, ...]


def clip_source(value: Any, key: str, depth: int = 0) -> str | bytes | Cell:
    """Returns where a recording is: its path, its encoded bytes, or the cell of a table.

    Args:
        value: What stands in the field.
        key: The field, for messages.
        depth: Of objects within objects.

    Raises:
        BadRow: If it names no recording.
    """
    if isinstance(value, str):
        return _of_text(value, key)
    if isinstance(value, Mapping) and depth < _DEPTH:
        cell = value.get(CELL)
        if isinstance(cell, list) and len(cell) > 1 and type(cell[0]) is int:
            return Cell(cell[0], tuple(cell[1:]))
        if not is_empty(value.get("array")):
            return _encoded(value["array"], value.get("sampling_rate", value.get("sample_rate")), key)
        for name in ("bytes", "data"):
            if isinstance(held := value.get(name), str) and held:
                return _decoded(held, key)
            if isinstance(held, Mapping) and held:
                return clip_source(held, key, depth + 1)
        inside = [name for name in _INSIDE if not is_empty(value.get(name))]
        if inside:
            check_one_clip((value[name] for name in inside), f"the object under '{key}'")
            return clip_source(value[inside[0]], key, depth + 1)
    what = f"{type(value).__name__}: {str(value)[:40]}" if value is not None else "empty"
    raise BadRow("missing field", f"'{key}' is missing or not a str that names a recording ({what})")


def check_one_clip(names: Iterable[Any], where: str) -> None:
    """Refuses texts that name different recordings of this machine where one clip is meant.

    Args:
        names: Values of fields; what is no path is passed over, and so is where a recording was fetched from.
        where: What has them.

    Raises:
        BadRow: If two of them differ by more than their folders and formats.
    """
    texts = [name for name in dict.fromkeys(filter(_is_text, names)) if names_clip_file(name)]
    paths = [name for name in texts if not remote_remedy(name)]
    if len({PurePath(unquote(path)).stem for path in paths}) > 1:
        raise BadRow("contradiction", f"{where} names the recordings {' and '.join(paths)[:160]}: which of them?")


def in_memory(data: bytes, key: str) -> Recording:
    """Returns a recording of encoded bytes, named after what it holds.

    Raises:
        BadRow: As ``describe``.
    """
    name = f"{key}#{blake2b(data, digest_size=8).hexdigest()}"
    header = describe(BytesIO(data), name)
    recording = recording_of(BytesSource("memory", list(range(header.channels)), data, plain=header.plain), header)
    recording.id = name
    return recording


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _of_text(text: str, key: str) -> str | bytes:
    if (match := _DATA_URL.match(text[:200])) is not None:
        if ";base64" not in match[0]:
            raise BadRow("unreadable audio", f"the data URL under '{key}' is not base64")
        return _decoded(text[match.end() :], key)
    if text.startswith("file://"):
        return clean(path_of_url(text))
    if len(text) > 256 and text.startswith(_BASE64):
        return _decoded(text, key)
    return clean(text)


def _decoded(text: str, key: str) -> bytes:
    try:
        packed = "".join(text.split()).replace("-", "+").replace("_", "/")
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRow("unreadable audio", f"what stands under '{key}' is not base64: {error}") from error


def _encoded(samples: Any, rate: Any, key: str) -> bytes:
    import numpy as np
    import soundfile

    if rate is None:
        raise BadRow("missing field", f"the samples under '{key}' have no sampling_rate")
    # A table without a number in some row keeps all of them as floats.
    if type(rate) not in (int, float) or rate <= 0 or rate != int(rate):
        raise BadRow("wrong number", f"the sampling_rate of the samples under '{key}' is {str(rate)[:40]!r}")
    file = BytesIO()
    try:
        audio = np.asarray(samples, dtype=np.float32)
        # One list a channel, as in `datasets`; soundfile wants one a frame.
        soundfile.write(
            file, audio.T if audio.ndim == 2 and len(audio) < 32 else audio, int(rate), "FLOAT", format="WAV"
        )
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadRow("unreadable audio", f"the samples under '{key}' are no numbers: {error}") from error
    return file.getvalue()
