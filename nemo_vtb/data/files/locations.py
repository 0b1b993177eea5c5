"""Where files are, in the words of a config: NeMo's names for several files, and the shipped corpora."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.paths import corpora_dir


def source_name(entry: Mapping[str, Any]) -> str:
    """Returns what a source is called that has no name: the folder of its first file."""
    keys = ("manifest_filepath", "paths", "cuts_path", "shar_path", "data_dir")
    named = next((entry[key] for key in keys if entry.get(key) is not None), "source")
    named = next(iter(named.values())) if isinstance(named, Mapping) else named
    first = locate(expand(named)[0])
    return first.name if "shar_path" in entry and not isinstance(entry["shar_path"], Mapping) else first.parent.name


def expand(paths: Any) -> list[str]:
    """Expands NeMo's ways to name several files: lists, lists of buckets, ``_OP_0..7_CL_`` and ``{0..7}``.

    A name without either kind of brace is taken as it is, brackets and all.
    """
    from nemo.collections.common.data.lhotse.nemo_adapters import expand_sharded_filepaths

    if isinstance(paths, (str, Path)):
        name = str(paths)
        return expand_sharded_filepaths(name) if "_OP_" in name or "{" in name else [name]
    return [name for part in paths for name in expand(part)]


def locate(path: str) -> Path:
    """Resolves a path; ``corpora:`` stands for the folder of corpora shipped with the repository.

    Raises:
        VTBError: If the shipped corpora are not there.
    """
    if not path.startswith("corpora:"):
        return Path(path).expanduser()
    folder = corpora_dir()
    if folder is None:
        raise VTBError(
            f"{path}: the corpora travel with the repository (examples/corpora), not with the installed package; "
            "clone it, or name your own data"
        )
    return folder / path.removeprefix("corpora:")
