"""File names in another Unicode normalisation: a Mac writes é as two characters, most others as one."""

import unicodedata
from functools import lru_cache
from pathlib import Path

from nemo_vtb.data.files.notes import note


def normalised(name: str) -> str:
    """Returns a name in the normalisation by which names are compared."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def spelled_otherwise(base: Path, name: str) -> Path | None:
    """Returns the file whose name differs from the wanted one by its normalisation only, and notes that it was taken.

    Args:
        base: A folder.
        name: A path relative to it, or absolute.
    """
    if name.isascii() and str(base).isascii():
        return None
    wanted = base / name
    path = Path(wanted.anchor)
    for part in wanted.parts[1 if wanted.anchor else 0 :]:
        try:
            exists = (path / part).exists()
            found = part if exists else _names(path, path.stat().st_mtime_ns).get(normalised(part))
        except OSError:
            return None
        if found is None:
            return None
        path /= found
    if not path.is_file():
        return None
    note("other normalisation", "the name of a recording is in another Unicode normalisation than its file's")
    return path


@lru_cache(maxsize=256)
def _names(folder: Path, stamp: int) -> dict[str, str]:
    return {normalised(entry.name): entry.name for entry in folder.iterdir() if not entry.name.isascii()}
