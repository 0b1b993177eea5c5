"""Fields and clips of a row, with clips as files or in the cells of a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nemo_vtb.errors import VTBError

_SAMPLE_RATE = 16_000


def field(row: Mapping[str, Any], where: str, *names: str) -> Any:
    """The first of some fields that a row has; case does not count.

    Raises:
        VTBError: If it has none of them.
    """
    known = {str(key).strip().lower(): value for key, value in row.items()}
    for name in names:
        if known.get(name.lower()) is not None:
            return known[name.lower()]
    raise VTBError(f"{where} has no field {' or '.join(names)}; it has {', '.join(map(str, row))}")


def clip_of(value: Any, where: str, roots: Sequence[Path], kept: Path, name: str) -> Path:
    """The file of a clip; one that is a cell of a table is written into a folder.

    Args:
        value: A path, or ``{bytes, path}`` as ``datasets`` writes recordings.
        where: The row, for messages.
        roots: Folders that a path may be relative to.
        kept: Folder for clips of tables.
        name: Of the clip, where it is written.

    Raises:
        VTBError: If there is no such file.
    """
    if isinstance(value, Mapping) and value.get("bytes"):
        suffix = Path(str(value.get("path") or "")).suffix or ".wav"
        path = kept / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value["bytes"])
        return path
    named = str(value.get("path") if isinstance(value, Mapping) else value)
    for root in roots:
        if (root / named).is_file():
            return (root / named).absolute()
    raise VTBError(f"{where}: no clip {named} in {' or '.join(map(str, roots))}")


def joined(clips: Sequence[Path], path: Path, pause: float = 0.3) -> Path:
    """Writes clips one after another as one, with silence in between."""
    import numpy as np
    import soundfile

    parts = []
    for clip in clips:
        samples, rate = soundfile.read(clip, dtype="float32")
        if rate != _SAMPLE_RATE or samples.ndim != 1:
            raise VTBError(f"{clip} has {rate} Hz and {samples.ndim} dimensions; 16000 Hz and one channel are joined")
        parts += [samples, np.zeros(int(pause * rate), np.float32)]
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate(parts[:-1]), _SAMPLE_RATE)
    return path
