"""Configs: composed with Hydra from shipped and own folders, and without keys that nobody reads."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose(config_name: str, overrides: list[str], config_dir: str | Path | None = None) -> "DictConfig":
    """Composes a shipped or a user's config with Hydra.

    Raises:
        VTBError: If Hydra refuses the name or an override; the message is Hydra's.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from nemo_vtb.paths import config_dir as shipped

    folder = Path(config_dir).resolve() if config_dir else shipped()
    searched = [] if folder == shipped() else [f"hydra.searchpath=[file://{shipped()}]"]
    try:
        with initialize_config_dir(str(folder), version_base=None):
            return hydra_compose(config_name, overrides=[*searched, *overrides])
    except (HydraException, OmegaConfBaseException) as error:
        # Hydra takes an override of a key for one of a config group wherever a folder has that name.
        names = [override.partition("=")[0] for override in overrides]
        taken = next((name for name in names if config_dir and name and (folder / name).is_dir()), None)
        hint = f" (the folder {folder / taken} makes {taken}= a config group: rename it)" if taken else ""
        raise VTBError(f"config '{config_name}': {error}{hint}") from error


def check_keys(section: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuses keys that nothing reads.

    Raises:
        VTBError: Names the key with its path, and the closest known key.
    """
    known = sorted(known)
    for key in section:
        if key not in known:
            close = get_close_matches(str(key), known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; known keys: {', '.join(known)}"
            raise VTBError(f"unknown config key {where}.{key}{hint}")
