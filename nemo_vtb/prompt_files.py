"""Files of prompts for LLMs: shipped ones by their name, a user's own by their path."""

from collections.abc import Mapping
from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line
from nemo_vtb.paths import config_dir

Prompt = TypeVar("Prompt")
# What is known of a file without reading its keys.
_OF_THE_FILE = ("name", "sha256")


def read_prompts(kind: type[Prompt], name: str, folder: str, key: str) -> Prompt:
    """Reads a file of prompts.

    Args:
        kind: A dataclass of its keys. Where it has ``name`` or ``sha256``, they are the file's.
        name: Of a shipped file, or the path of another.
        folder: Of the shipped files, below ``conf``.
        key: Of the config that names the file, for messages.

    Raises:
        VTBError: If there is no such file, or it holds what cannot be used.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path = _path(name, config_dir() / folder, key)
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    facts = {"name": path.stem, "sha256": sha256(path.read_bytes()).hexdigest()}
    try:
        read = OmegaConf.load(path)
        if not isinstance(read, Mapping) or "version" not in read:
            raise VTBError(f"{path}: prompts are keys and values, one of them their version")
        check_keys(read, [one for one in known if one not in _OF_THE_FILE], str(path))
        given = {one: facts[one] for one in _OF_THE_FILE if one in known}
        prompts: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(kind), read, given))
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        raise VTBError(f"{path}: {first_line(error)}") from error
    assert isinstance(prompts, kind)
    return prompts


def _path(name: str, folder: Path, key: str) -> Path:
    shipped = folder / f"{name}.yaml"
    path = shipped if shipped.is_file() else Path(name)
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise VTBError(f"{key}={name}: no such file; shipped are {names}")
    return path
