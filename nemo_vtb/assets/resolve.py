"""Turns what a user wrote in a config into something a loader understands."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nemo_vtb.assets.cache import is_finished, model_folder
from nemo_vtb.assets.catalog import CATALOG
from nemo_vtb.assets.install import fetch
from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def resolve(name_or_path: str) -> str:
    """Returns the local path, or the hub id, that a model name stands for.

    A name in the catalog becomes its local folder; the first use fetches and converts it, every later one only reads
    a marker file. A local file or folder and a hub id (``org/name``) are returned unchanged.

    Args:
        name_or_path: A name in the catalog, a local path or a hub id.

    Raises:
        VTBError: The name is none of these, a local path does not exist, or the asset cannot be fetched.
    """
    if name_or_path in CATALOG:
        return str(fetch(name_or_path))
    path = os.path.expanduser(name_or_path)
    if os.path.exists(path):
        return path
    if path.startswith(("/", "./", "../")):
        raise VTBError(f"{name_or_path!r} does not exist. Give an existing folder, {_known_names()}, or a hub id.")
    if "/" not in name_or_path:
        import difflib

        close = difflib.get_close_matches(name_or_path.lower(), CATALOG, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise VTBError(
            f"Unknown model {name_or_path!r}.{hint} Give {_known_names()}, a local folder, or a hub id (org/name)."
        )
    return name_or_path


def resolve_section(cfg: "DictConfig") -> None:
    """Puts what loaders understand in the place of the names in a section ``model``.

    Raises:
        VTBError: See ``resolve``.
    """
    from omegaconf import open_dict

    with open_dict(cfg):
        cfg.pretrained_llm = resolve(cfg.pretrained_llm)
        # A NeMo checkpoint brings the whole section of its encoder.
        encoder = (cfg.get("perception") or {}).get("encoder") or {}
        if cfg.get("pretrained_asr") and encoder.get("config") is None:
            cfg.pretrained_asr = resolve(cfg.pretrained_asr)


def local_folder(name_or_path: str) -> Path | None:
    """The folder that a name stands for, where it is on this machine already; nothing is fetched."""
    if name_or_path in CATALOG:
        folder = model_folder(CATALOG[name_or_path])
        return folder if is_finished(CATALOG[name_or_path], folder) else None
    path = Path(os.path.expanduser(name_or_path)) if name_or_path else None
    return path if path is not None and path.is_dir() else None


def _known_names() -> str:
    return f"a known name ({', '.join(CATALOG)})"
