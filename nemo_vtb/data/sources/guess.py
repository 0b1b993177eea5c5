"""What a file of rows probably is, from its name and first row: for people who lint data without a config."""

import json
import re
import zlib
from pathlib import Path
from typing import Any

from nemo_vtb.data.audio.tables import SUFFIXES
from nemo_vtb.data.files.rows import REMEDIES, BadRow, parse_line
from nemo_vtb.data.sources.copies import NO_JSON, row_place
from nemo_vtb.data.sources.disk import open_rows
from nemo_vtb.data.sources.formats import TYPES
from nemo_vtb.data.sources.looks import UTTERANCES, clip_column, kind_of_row, type_of
from nemo_vtb.data.sources.sniff import check_lines, describe_line
from nemo_vtb.errors import VTBError

_KEYS = {
    "share_gpt_webdataset": "data_dir",
    "nemo_sft_jsonl": "paths",
    "lhotse": "cuts_path",
    "lhotse_shar": "shar_path",
}
# What `datasets` writes beside the tables that it saves.
_SAVED = "state.json"
# A document of more is not read to see whether it is one.
_DOCUMENT_BYTES = 1 << 26
_SHAR_CUTS = re.compile(r"cuts\.(\d+)\.jsonl(\.gz)?$")
_NUMBERED = re.compile(r"_(\d+)\.(?:json|jsonl|tar)(?:\.gz)?$")


class NotRows(VTBError):
    """A file that is whole, and holds nothing, or something else than rows of a type that is known."""


def guess_entries(path: str, data_type: str | None = None, kind: str | None = None) -> list[tuple[dict[str, Any], str]]:
    """Returns ``input_cfg`` entries for what a file holds, each with the kind it is checked as.

    Args:
        path: A file of rows, a shard of a Shar folder, a tar beside its manifest, a folder that `datasets` has saved.
        data_type: Where the user said it.
        kind: Where the user said it.

    Raises:
        NotRows: If the file is something else.
        VTBError: If the type is unknown, or the file cannot be read.
    """
    check_type(data_type)
    place = Path(path)
    if not place.exists():
        raise VTBError(f"no such file: {path}")
    if tables := saved_tables(place):
        [(saved, like)] = guess_entries(str(tables[0]), data_type, kind)
        return [({**saved, "manifest_filepath": path}, like)]
    if place.suffix == ".tar" and data_type != "share_gpt_webdataset" and (rows := rows_of(place)) is not None:
        return guess_entries(str(rows), data_type, kind)
    if shard := _shar_shard(place):
        return [({"type": "lhotse_shar", "shar_path": shard}, kind or kind_of_row(_first_row(path), "lhotse_shar"))]
    row = _first_row(path) if data_type is None or (kind is None and data_type in UTTERANCES) else {}
    data_type = data_type or ("share_gpt_webdataset" if place.suffix == ".tar" else _looks_like(path, row))
    entry: dict[str, Any] = {"type": data_type, _KEYS.get(data_type, "manifest_filepath"): path}
    if data_type == "parquet" and (column := clip_column(row)) not in (None, "audio"):
        entry["audio_field"] = column
    if data_type in ("nemo", "nemo_tarred") and (tars := _tars_of(place)):
        entry |= {"type": "nemo_tarred", "tarred_audio_filepaths": tars}
    return [(entry, kind or kind_of_row(row, data_type))]


def check_type(data_type: str | None) -> None:
    """Refuses a data type that there is not.

    Raises:
        VTBError: Names those that there are.
    """
    if data_type is not None and data_type not in TYPES:
        raise VTBError(f"unknown type '{data_type}'; known: {', '.join(TYPES)}")


def saved_tables(folder: Path) -> list[Path]:
    """Returns the tables of a folder that `datasets` has saved; none of any other."""
    return sorted(folder.glob(f"*{SUFFIXES[-1]}")) if (folder / _SAVED).is_file() else []


def _shar_shard(cuts: Path) -> dict[str, list[str]] | None:
    """A shard of a Shar folder, if that is what a file of cuts belongs to."""
    if not (match := _SHAR_CUTS.fullmatch(cuts.name)):
        return None
    tar = cuts.with_name(f"recording.{match[1]}.tar")
    return {"cuts": [str(cuts)], "recording": [str(tar)]} if tar.is_file() else None


def rows_of(tar: Path) -> Path | None:
    """Returns the file of rows that belongs to a tar of clips, if there is one."""
    number = _number(tar)
    for folder in (tar.parent, tar.parent / "sharded_manifests"):
        for file in sorted(folder.glob("*.json*")):
            shar = _SHAR_CUTS.fullmatch(file.name)
            if shar and tar.name == f"recording.{shar[1]}.tar":
                return file
            if number is not None and number == _number(file) and not shar:
                return file
    return None


def _tars_of(rows: Path) -> list[str]:
    """The tar with a manifest's number, or every tar beside a manifest whose rows name their shards."""
    tars = [tar for folder in (rows.parent, rows.parent.parent) for tar in sorted(folder.glob("*_*.tar"))]
    if (number := _number(rows)) is not None:
        return [str(tar) for tar in tars if _number(tar) == number][:1]
    if "shard_id" not in _first_row(str(rows)):
        return []
    return [str(tar) for tar in tars if tar.parent == rows.parent and _number(tar) is not None]


def _number(file: Path) -> int | None:
    match = _NUMBERED.search(file.name)
    return int(match[1]) if match else None


def _looks_like(path: str, row: dict[str, Any]) -> str:
    if found := type_of(row, path.endswith(SUFFIXES)):
        return found
    raise NotRows(f"{path}: the first row is of no known type; name it with --type: {', '.join(TYPES)}")


def _first_row(path: str) -> dict[str, Any]:
    first: tuple[int, bytes, BadRow] | None = None
    check_lines(Path(path))
    with open_rows(path) as lines:
        try:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    row = parse_line(line)
                except BadRow as error:
                    first = first or (number, line, error)
                else:
                    if NO_JSON not in row:
                        return row
        except (OSError, EOFError, zlib.error) as error:
            raise VTBError(f"{path} cannot be read to its end: {error}") from error
    if first is None and path.endswith(".tar"):
        raise NotRows(f"{path} holds no .json, and no file of rows beside it has its number: name the file of its rows")
    if first is None:
        raise NotRows(f"{path} holds no row: it is empty")
    number, line, bad = first
    if _is_document(path):
        raise NotRows(f"{path} holds no row: it is a single JSON object over several lines (jq -c . makes a row of it)")
    if path.endswith((".json", ".json.gz")) and line.lstrip().startswith(b"["):
        raise NotRows(f"{path} is an array of JSON, and not one of objects with named fields")
    if what := describe_line(line):
        raise VTBError(f"{path} holds no row: {what}")
    raise VTBError(f"{row_place(path, number)}: {bad}; no row of the file can be read: {REMEDIES[bad.reason]}")


def _is_document(path: str) -> bool:
    """Whether a file is one object of JSON over several lines: a summary, a configuration."""
    if not path.endswith(".json") or Path(path).stat().st_size > _DOCUMENT_BYTES:
        return False
    try:
        return isinstance(json.loads(Path(path).read_bytes()), dict)
    except (ValueError, RecursionError):
        return False
