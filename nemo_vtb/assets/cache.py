"""The asset cache on disk: where it is, what counts as finished, and how processes take turns.

Layout under the root: ``downloads/`` (verified archives; may be deleted at any time), ``models/NAME/`` (finished
folders), ``staging/NAME/`` (work in progress, wiped by the next attempt), ``locks/NAME.lock``.
"""

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nemo_vtb.assets.catalog import Asset
from nemo_vtb.errors import VTBError

CACHE_VARIABLE = "NEMO_VTB_CACHE"
MARKER = "nemo_vtb_asset.json"

# Raise it when a converter writes something different, so that folders made before are made anew.
_FOLDER_FORMAT = 1


def cache_root() -> Path:
    """The cache folder: ``$NEMO_VTB_CACHE``, else ``~/.cache/nemo_vtb``."""
    return Path(os.environ.get(CACHE_VARIABLE) or "~/.cache/nemo_vtb").expanduser().absolute()


def model_folder(asset: Asset) -> Path:
    """Where the finished folder of ``asset`` lies, whether it is there or not."""
    return cache_root() / "models" / asset.name


def downloads_folder() -> Path:
    """Where verified archives are kept, whether it is there or not."""
    return cache_root() / "downloads"


def staging_folder(asset: Asset) -> Path:
    """Scratch space of the process that holds the lock on ``asset``."""
    return cache_root() / "staging" / asset.name


def make_folder(path: Path) -> Path:
    """Creates ``path`` inside the cache and returns it.

    Raises:
        VTBError: The cache cannot be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VTBError(
            f"Cannot create {path}: {error.strerror}. Set {CACHE_VARIABLE} to a folder you can write to."
        ) from error
    return path


def is_finished(asset: Asset, folder: Path) -> bool:
    """Whether ``folder`` was made from exactly these packages and still has every file at its full size."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        return marker["origin"] == _origin(asset) and all(
            (folder / name).stat().st_size == size for name, size in marker["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def mark_finished(asset: Asset, folder: Path) -> None:
    """Writes the marker that `is_finished` reads, and opens the files to whoever may read the folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    marker = folder / MARKER
    marker.write_text(
        json.dumps(
            {
                "asset": asset.name,
                "licence": asset.licence,
                "hub_id": asset.hub_id,
                "origin": _origin(asset),
                "files": {path.relative_to(folder).as_posix(): path.stat().st_size for path in files},
            },
            indent=2,
        )
        + "\n",
        encoding="utf-8",
    )
    # safetensors writes files that only their owner can read, which breaks a cache that several users share.
    for path in files:
        path.chmod(marker.stat().st_mode)


@contextmanager
def locked(asset: Asset) -> Iterator[None]:
    """Holds the lock on ``asset``: of all processes that share the cache, one at a time is inside.

    The lock ends with the process, so a killed process leaves nothing to clean up.
    """
    path = make_folder(cache_root() / "locks") / f"{asset.name}.lock"
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{asset.name}: waiting for another process that prepares it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def say(message: str) -> None:
    """Tells the user what a long step is doing."""
    print(message, file=sys.stderr, flush=True)


def _origin(asset: Asset) -> dict[str, object]:
    return {
        "format": _FOLDER_FORMAT,
        "packages": {package.requirement: package.sha256 for package in asset.packages},
        "files": {extract.target: extract.sha256 for extract in asset.extracts if extract.sha256},
    }
