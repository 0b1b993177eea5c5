"""Names of models that mean the same on every machine."""

import os
from pathlib import Path

from nemo_vtb.assets.cache import model_folder
from nemo_vtb.assets.catalog import CATALOG


def portable_name(name_or_path: str) -> str | None:
    """Returns the name under which others get the same model, or None for a folder only this machine has.

    Args:
        name_or_path: What a config names; the folder of a packaged asset in the cache becomes the asset's name.
    """
    if name_or_path in CATALOG:
        return name_or_path
    path = Path(name_or_path).expanduser()
    for asset in CATALOG.values():
        if path == model_folder(asset):
            return asset.name
    return None if os.path.exists(path) or path.is_absolute() else name_or_path
