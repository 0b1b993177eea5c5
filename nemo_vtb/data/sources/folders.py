"""What lies in a folder that somebody wants checked: files of rows, what belongs to them, and what nothing reads."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nemo_vtb.data.audio.tables import SUFFIXES
from nemo_vtb.data.row_forms.fields import names_clip_file
from nemo_vtb.data.sources.formats import WIDS, listed_shards
from nemo_vtb.data.sources.guess import NotRows, check_type, guess_entries, rows_of, saved_tables
from nemo_vtb.errors import VTBError

_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
ROW_FILES = (*_LINES, ".json", ".json.gz", *SUFFIXES)
# What `vtb data prepare`, WebDataset and `datasets` write about the files beside them.
_ABOUT = ("corpus.json", WIDS, "state.json", "dataset_info.json", "dataset_dict.json")
_SHAR_TAR = re.compile(r"\w+\.(\d+)\.tar")


@dataclass
class Named:
    """What a path holds that somebody has named.

    Attributes:
        entries: ``input_cfg`` entries, each with the kind it is checked as.
        refused: Files that cannot be read as rows, and why.
        other: Likewise those that are whole, and something else than rows.
        left_out: Files that nothing reads, recordings apart: of those, rows say which are read.
    """

    entries: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    other: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def guess_path(path: str, data_type: str | None = None, kind: str | None = None) -> Named:
    """Returns what a file or a folder holds.

    Args:
        path: What ``guess_entries`` takes, or a folder of it.
        data_type: Where the user said it.
        kind: Where the user said it.

    Raises:
        VTBError: If the type is unknown, or nothing there can be read as rows.
    """
    check_type(data_type)
    place = Path(path)
    if not place.is_dir() or saved_tables(place):
        return Named(guess_entries(path, data_type, kind))
    if data_type == "share_gpt_webdataset":
        return Named([({"type": data_type, "data_dir": path}, kind or "mixed")])
    found = Named()
    files = list(_files(place))
    rows = [file for file in files if _has_rows(file)]
    for file in rows:
        _take(found, file, data_type, kind)
    unread = set(files) - set(rows)
    unread -= set(_web_datasets(found, unread, kind))
    claimed = {tar for entry, _ in found.entries for tar in entry.get("tarred_audio_filepaths", ())}
    tars = sorted(file for file in unread if file.suffix == ".tar" and str(file) not in claimed)
    for tar in filter(_is_alone, tars):
        _take(found, tar, data_type, kind)
    read = {
        file for file in unread if file.name in _ABOUT or file.suffix == ".tar" or names_clip_file(f"clip{file.suffix}")
    }
    found.left_out = [str(file) for file in files if file in unread - read]
    if not found.entries and not found.refused:
        why = "; ".join(f"{file} {why}" for file, why in [*found.other.items()][:1])
        raise VTBError(
            f"{path} holds no file of rows ({', '.join(ROW_FILES)}, .tar) and is no Shar folder{why and f'; {why}'}"
        )
    return found


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder; what hidden folders hold is none of the user's."""
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.is_file() and not hidden:
            yield file


def _has_rows(file: Path) -> bool:
    if file.name in _ABOUT:
        return False
    return file.name.endswith(ROW_FILES) or file.name.lower().endswith(_LINES[:2])


def _take(found: Named, file: Path, data_type: str | None, kind: str | None) -> None:
    try:
        found.entries += guess_entries(str(file), data_type, kind)
    except NotRows as error:
        found.other[str(file)] = _of(file, error)
    except VTBError as error:
        found.refused[str(file)] = _of(file, error)


def _of(file: Path, error: VTBError) -> str:
    """What is wrong, without the file's name before it."""
    return str(error).removeprefix(f"{file} ").removeprefix(f"{file}: ")


def _web_datasets(found: Named, files: Iterable[Path], kind: str | None) -> Iterator[Path]:
    """Adds each folder whose tars are listed, and yields those tars and the lists."""
    for meta in sorted(file for file in files if file.name == WIDS):
        try:
            shards = listed_shards(meta)
        except VTBError as error:
            found.refused[str(meta)] = _of(meta, error)
        else:
            found.entries.append(({"type": "share_gpt_webdataset", "data_dir": str(meta.parent)}, kind or "mixed"))
            yield from shards
        yield meta


def _is_alone(tar: Path) -> bool:
    """Whether neither a file of rows nor cuts beside it say what is in a tar."""
    shard = _SHAR_TAR.fullmatch(tar.name)
    if shard and any(tar.with_name(f"cuts.{shard[1]}.jsonl{packed}").is_file() for packed in ("", ".gz")):
        return False
    return rows_of(tar) is None
