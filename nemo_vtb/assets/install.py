"""Gives out the local folder of an asset; the work of making it is loaded only where it is not there yet."""

import shutil
from pathlib import Path

from nemo_vtb.assets.cache import is_finished, locked, make_folder, model_folder, staging_folder
from nemo_vtb.assets.catalog import CATALOG, Asset
from nemo_vtb.errors import VTBError


def fetch(name: str) -> Path:
    """Returns the local folder of a known asset, preparing it first where needed.

    Args:
        name: A name in `CATALOG`.

    Raises:
        VTBError: No such name, or the asset cannot be fetched, verified or converted.
    """
    if name not in CATALOG:
        raise VTBError(f"Unknown asset {name!r}. Known: {', '.join(CATALOG)}.")
    return install(CATALOG[name])


def install(asset: Asset) -> Path:
    """Returns the local folder of ``asset``, preparing it first where needed.

    Any number of processes may call this at once: one prepares, the others wait for it. A process that dies half-way
    leaves no folder that a later call would take for finished.

    Raises:
        VTBError: The asset cannot be fetched, verified or converted.
    """
    folder = model_folder(asset)
    if is_finished(asset, folder):
        return folder
    from nemo_vtb.assets.prepare import prepare

    with locked(asset):
        if not is_finished(asset, folder):
            staging = staging_folder(asset)
            shutil.rmtree(staging, ignore_errors=True)
            make_folder(staging)
            try:
                prepare(asset, staging, folder)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return folder
