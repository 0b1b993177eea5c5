"""Where files are, in the words of a config: NeMo's names for several files, and the shipped corpora."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from nemo_vtb.errors import VTBError
from nemo_vtb.paths import CLONE, corpora_dir

_REMOTE = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_COPIED_BY = {
    "s3": "aws s3 sync s3://BUCKET/FOLDER LOCAL",
    "ais": "ais get --recursive ais://BUCKET/ LOCAL",
    "gs": "gcloud storage rsync --recursive gs://BUCKET/FOLDER LOCAL",
    "http": "wget --recursive --no-parent URL",
    "https": "wget --recursive --no-parent URL",
    "hf": "hf download --repo-type dataset NAME --local-dir LOCAL",
}


def remote_remedy(name: str) -> str | None:
    """Returns what to do about a name on another machine; None for a path.

    Clips are read in the middle, again and again and by many processes, so data is read from disks only.
    """
    found = _REMOTE.match(name)
    if found is None:
        return None
    copied = _COPIED_BY.get(found[1].lower())
    return "copy it to a disk or mount it, and name that path" + (f" ({copied})" if copied else "")


def path_of_url(url: str) -> str:
    """Returns the path that a ``file://`` names."""
    return unquote(re.sub(r"^file://(localhost)?", "", url))


def source_name(entry: Mapping[str, Any]) -> str:
    """Returns what a source is called that has no name: the folder of its first file."""
    keys = ("manifest_filepath", "paths", "cuts_path", "shar_path", "data_dir")
    named = next((entry[key] for key in keys if entry.get(key)), "source")
    named = next(iter(named.values())) if isinstance(named, Mapping) else named
    first = locate(next(iter(expand(named)), "source"))
    return first.name if "shar_path" in entry and not isinstance(entry["shar_path"], Mapping) else first.parent.name


def expand(paths: Any) -> list[str]:
    """Expands NeMo's ways to name several files: lists, lists of buckets, ``_OP_0..7_CL_`` and ``{0..7}``.

    A name without either kind of brace is taken as it is, brackets and all, and so is that of a file or folder that
    exists.

    Raises:
        VTBError: If its braces do not close, a name is no text, or it is a pattern.
    """
    from nemo.collections.common.data.lhotse.nemo_adapters import expand_sharded_filepaths

    if isinstance(paths, (str, Path)):
        name = str(paths)
        if not any(mark in name for mark in ("_OP_", "{", "*")) or _exists(name):
            return [name]
        if "*" in name:
            raise VTBError(f"{name}: no such file, and * stands for nothing here: list the files, or write {{0..7}}")
        try:
            return expand_sharded_filepaths(name)
        except Exception as error:
            raise VTBError(
                f"{name}: no such file, and its braces name no others: write _OP_0..7_CL_ or {{0..7}}"
            ) from error
    if not isinstance(paths, Sequence):
        raise VTBError(
            f"{paths} is no path: name a file or a list of files; weights beside them, [[path, weight], ...], "
            "belong to manifest_filepath and shar_path"
        )
    return [name for part in paths for name in expand(part)]


def locate(path: str) -> Path:
    """Resolves a path or ``file://``; ``corpora:`` is the folder of corpora shipped with the repository.

    Raises:
        VTBError: If the shipped corpora are not there, or it is no path of this machine.
    """
    if path.startswith("file://"):
        return Path(path_of_url(path))
    if remedy := remote_remedy(path):
        raise VTBError(f"{path} is not on this machine: {remedy}")
    if path.startswith("pipe:"):
        raise VTBError(f"{path} is a command, and data does not get to run commands: name the file that it reads")
    if not path.startswith("corpora:"):
        return Path(path).expanduser()
    folder = corpora_dir()
    if folder is None:
        raise VTBError(f"{path} is not part of the installed package: {CLONE}, or name your own data")
    return folder / path.removeprefix("corpora:")


def locate_folder(path: str, key: str) -> Path:
    """Resolves the path of a folder.

    Args:
        path: As of ``locate``.
        key: Of the config, for messages.

    Raises:
        VTBError: If there is no such folder.
    """
    folder = locate(path)
    if not folder.is_dir():
        raise VTBError(f"{key} {path}: no such folder")
    return folder


def _exists(name: str) -> bool:
    try:
        return locate(name).exists()
    except (OSError, ValueError):
        return False
