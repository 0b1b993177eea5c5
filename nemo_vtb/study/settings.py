"""What decides the outcome of a run: its training config, what it is asked, and the hashes of the data files."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nemo_vtb.data.formats import locate
from nemo_vtb.errors import VTBError

# Keys of a config that name files.
_FILE_KEYS = ("manifest_filepath", "path")
# Keys that decide where things are kept, not what is learnt.
_PLACES = ("training.model.encoder_cache",)


def settings_of(training: DictConfig, measure: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, as plain JSON: ``training``, ``measure`` and ``files``, SHA-256 by name.

    Raises:
        VTBError: If the training config has a value that is missing or cannot be resolved.
    """
    try:
        plain: Any = OmegaConf.to_container(training, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise VTBError(f"vtb study: {error}") from error
    plain.pop("held_out", None)
    plain.pop("threads", None)
    return {"training": plain, "measure": measure, "files": _files([plain["data"].get("train_ds"), measure])}


def differing(path: Path, settings: Mapping[str, Any]) -> str:
    """Says how the settings in a file differ from these, in words that follow "made"; empty where they do not."""
    there, now = _flat(json.loads(path.read_text(encoding="utf-8"))), _flat(json.loads(json.dumps(settings)))
    for key in {**there, **now}:
        if there.get(key) == now.get(key) or key.startswith(_PLACES):
            continue
        if key.startswith("files."):
            return f"with another {key.removeprefix('files.')} than is there now: restore the file"
        return f"with {key}={there.get(key)!r}, and now it is {now.get(key)!r}: take the old value"
    return ""


def _files(value: Any) -> dict[str, str]:
    """SHA-256 of the data files a config names, by what they are called there."""
    found: dict[str, str] = {}
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in _FILE_KEYS and isinstance(item, str) and locate(item).is_file():
                found[item] = sha256(locate(item).read_bytes()).hexdigest()
            else:
                found |= _files(item)
    elif isinstance(value, list):
        for item in value:
            found |= _files(item)
    return found


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping of dotted names."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping) or not value:
        return {name: value}
    found: dict[str, Any] = {}
    for key, item in value.items():
        found |= _flat(item, f"{name}.{key}" if name else str(key))
    return found
