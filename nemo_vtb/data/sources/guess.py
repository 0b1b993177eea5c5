"""What files of rows probably are, from their names and first rows: for people who lint data without a config."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nemo_vtb.data.audio.tables import SUFFIXES
from nemo_vtb.data.conversations.instructed import KINDS
from nemo_vtb.data.files.rows import REMEDIES, BadRow, parse_line
from nemo_vtb.data.sources.disk import open_rows
from nemo_vtb.data.sources.formats import TYPES
from nemo_vtb.data.sources.sniff import check_lines, describe_line
from nemo_vtb.errors import VTBError

_KEYS = {
    "share_gpt_webdataset": "data_dir",
    "nemo_sft_jsonl": "paths",
    "lhotse": "cuts_path",
    "lhotse_shar": "shar_path",
}
_ROW_FILES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", *SUFFIXES)
# What `datasets` writes beside the tables that it saves.
_SAVED = "state.json"
_SHAR_CUTS = re.compile(r"cuts\.(\d+)\.jsonl(\.gz)?$")
_NUMBERED = re.compile(r"_(\d+)\.(?:json|jsonl|tar)(?:\.gz)?$")


def guess_entries(path: str, data_type: str | None = None, kind: str | None = None) -> list[tuple[dict[str, Any], str]]:
    """Returns ``input_cfg`` entries for what a path holds, each with the kind it is checked as.

    Args:
        path: A file of rows, a Shar folder, a shard of either, a tar beside its manifest, or a folder of these.
        data_type: Where the user said it.
        kind: Where the user said it.

    Raises:
        VTBError: If the type is unknown, or nothing can be told from the files.
    """
    if data_type is not None and data_type not in TYPES:
        raise VTBError(f"unknown type '{data_type}'; known: {', '.join(TYPES)}")
    place = Path(path)
    if not place.exists():
        raise VTBError(f"no such file: {path}")
    if (place / _SAVED).is_file() and (tables := sorted(place.glob(f"*{SUFFIXES[-1]}"))):
        [(saved, like)] = guess_entries(str(tables[0]), data_type, kind)
        return [({**saved, "manifest_filepath": path}, like)]
    if place.is_dir():
        found = [part for file in _members(place) for part in guess_entries(str(file), data_type, kind)]
        if not found:
            raise VTBError(f"{path} holds no file of rows ({', '.join(_ROW_FILES)}) and is no Shar folder")
        return found
    if place.suffix == ".tar" and data_type != "share_gpt_webdataset" and (rows := _rows_of(place)) is not None:
        return guess_entries(str(rows), data_type, kind)
    if shard := _shar_shard(place):
        return [({"type": "lhotse_shar", "shar_path": shard}, kind or _kind(path, "lhotse_shar"))]
    data_type = data_type or ("share_gpt_webdataset" if place.suffix == ".tar" else _looks_like(path))
    entry: dict[str, Any] = {"type": data_type, _KEYS.get(data_type, "manifest_filepath"): path}
    if data_type in ("nemo", "nemo_tarred") and (tars := _tars_of(place)):
        entry |= {"type": "nemo_tarred", "tarred_audio_filepaths": tars}
    return [(entry, kind or _kind(path, data_type))]


def _members(folder: Path) -> Iterator[Path]:
    """Files of rows below a folder; what hidden folders hold is none of the user's."""
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.name.endswith(_ROW_FILES) and file.is_file() and not hidden:
            yield file


def _shar_shard(cuts: Path) -> dict[str, list[str]] | None:
    """A shard of a Shar folder, if that is what a file of cuts belongs to."""
    if not (match := _SHAR_CUTS.fullmatch(cuts.name)):
        return None
    tar = cuts.with_name(f"recording.{match[1]}.tar")
    return {"cuts": [str(cuts)], "recording": [str(tar)]} if tar.is_file() else None


def _rows_of(tar: Path) -> Path | None:
    """The file of rows that belongs to a tar of clips, if there is one."""
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


def _kind(path: str, data_type: str) -> str:
    """The kind a file is checked as: how its rows would be used."""
    if data_type in ("nemo", "nemo_tarred", "lhotse", "lhotse_shar"):
        row = _first_row(path)
        fields = row.keys() | (row.get("custom") or {}).keys()
        kind = "sqa" if "question" in fields else "ast" if fields & {"translation", "target_lang"} else "asr"
        assert kind in KINDS
        return kind
    return "mixed" if data_type != "nemo_sft_jsonl" else "text"


def _looks_like(path: str) -> str:
    row = _first_row(path)
    if "audio_filepath" in row:
        return "nemo"
    if "recording" in row or "tracks" in row:
        return "lhotse"
    if "messages" in row or row.keys() & {"audios", "sound", "ori_sound"}:
        return "share_gpt"
    turns = row.get("conversations")
    if isinstance(turns, list) and turns and isinstance(turns[0], dict):
        if any(isinstance(turn, dict) and str(turn.get("from", "")).lower() in ("human", "gpt") for turn in turns):
            return "share_gpt"
        return "multimodal_conversation" if "type" in turns[0] else "nemo_sft_jsonl"
    raise VTBError(f"{path}: the first row is of no known type; name it with --type: {', '.join(TYPES)}")


def _first_row(path: str) -> dict[str, Any]:
    first: tuple[int, bytes, BadRow] | None = None
    check_lines(Path(path))
    with open_rows(path) as lines:
        try:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    return parse_line(line)
                except BadRow as error:
                    first = first or (number, line, error)
        except (OSError, EOFError, zlib.error) as error:
            raise VTBError(f"{path} cannot be read to its end: {error}") from error
    if first is None:
        raise VTBError(f"{path} holds no row: it is empty")
    number, line, bad = first
    if what := describe_line(line):
        raise VTBError(f"{path} holds no row: {what}")
    raise VTBError(f"{path}:{number}: {bad}; no line of the file is a row: {REMEDIES[bad.reason]}")
