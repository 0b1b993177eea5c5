"""Writes made data once more as large training runs read it: NeMo's tarred conversations and Lhotse Shar."""

import os
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from nemo_vtb.errors import VTBError
from nemo_vtb.synthesis.jobs.shard import CONVERSATIONS, HELD_OUT
from nemo_vtb.whole_files import read_rows, unwritten

if TYPE_CHECKING:
    from lhotse.cut import Cut

# Lengths in rows are rounded.
_EXACT = 1e-3


def pack(folder: Path, tars: int) -> list[Path]:
    """Packs the conversations of a joined folder; what was packed before is replaced, whole or not at all.

    ``tarred/NAME/manifest_0.jsonl`` and ``audio_0.tar`` onwards are read by type ``multimodal_conversation``,
    ``shar/NAME`` by the types of Shar: a cut for each spoken turn, with what was asked and answered beside it.

    Args:
        folder: Of the joined files.
        tars: How many, fewer where there are fewer conversations.

    Returns:
        The folders written.

    Raises:
        VTBError: If a clip cannot be read, two different ones have one name, or the disk is full.
    """
    written = []
    for name in (CONVERSATIONS, HELD_OUT):
        rows = read_rows(folder / f"{name}.jsonl")
        if not rows:
            continue
        _check_names(rows, folder / f"{name}.jsonl")
        parts = [rows[len(rows) * i // tars : len(rows) * (i + 1) // tars] for i in range(tars)]
        parts = [part for part in parts if part]
        written.append(_replaced(folder / "tarred" / name, lambda work, parts=parts: _tarred(parts, folder, work)))
        if any(turn["type"] == "audio" for row in rows for turn in row["conversations"]):
            written.append(_replaced(folder / "shar" / name, lambda work, parts=parts: _shar(parts, folder, work)))
    return written


def _replaced(path: Path, write: Any) -> Path:
    work = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        work.mkdir(parents=True)
        write(work)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(work, path)
    except OSError as error:
        raise unwritten(path, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return path


def _check_names(rows: Sequence[Mapping[str, Any]], source: Path) -> None:
    paths: dict[str, str] = {}
    for row in rows:
        for turn in row["conversations"]:
            if turn["type"] == "audio":
                stem = Path(turn["value"]).stem
                if (other := paths.setdefault(stem, turn["value"])) != turn["value"]:
                    raise VTBError(
                        f"{source}: {other} and {turn['value']} would have one name in a tar: give recordings names of "
                        "their own, or leave tar_shards=0"
                    )


def _tarred(parts: Sequence[Sequence[Mapping[str, Any]]], folder: Path, work: Path) -> None:
    from nemo.collections.common.data.lhotse.text_adapters import NeMoMultimodalConversationTarWriter

    for number, part in enumerate(parts):
        # NeMo's writer leaves all shards but its last unfinished; one writer writes one.
        with NeMoMultimodalConversationTarWriter(str(work / "one"), shard_size=len(part) + 1) as writer:
            for row in part:
                writer.write(_conversation(row, folder))
        (work / "one" / "manifest_0.jsonl").rename(work / f"manifest_{number}.jsonl")
        tar, written = work / f"audio_{number}.tar", work / "one" / "audio_0.tar"
        if written.exists():
            written.rename(tar)
        else:  # nothing is spoken in this part, and readers want a tar for each manifest
            tarfile.open(tar, "w").close()
        (work / "one").rmdir()


def _shar(parts: Sequence[Sequence[Mapping[str, Any]]], folder: Path, work: Path) -> None:
    from lhotse.shar import SharWriter

    cuts = [[cut for row in part for cut in _cuts(row, folder)] for part in parts]
    for number, part in enumerate(part for part in cuts if part):
        with SharWriter(work, {"recording": "flac"}, shard_size=len(part), shard_offset=number) as writer:
            for cut in part:
                writer.write(cut)


def _conversation(row: Mapping[str, Any], folder: Path) -> Any:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
    from nemo.collections.common.data.lhotse.text_adapters import AudioTurn, TextTurn

    turns = [
        AudioTurn(cut=_cut(turn, folder), role=turn["from"].lower(), audio_locator_tag="", text=turn.get("text"))
        if turn["type"] == "audio"
        else TextTurn(value=turn["value"], role=turn["from"].lower())
        for turn in row["conversations"]
    ]
    return NeMoMultimodalConversation(id=row["id"], turns=turns, custom=dict(row.get("custom") or {}))


def _cuts(row: Mapping[str, Any], folder: Path) -> list["Cut"]:
    from lhotse import SupervisionSegment

    custom = dict(row.get("custom") or {})
    turns = row["conversations"]
    spoken = [turn for turn in turns if turn["type"] == "audio"]
    said = {
        key: " ".join(turn["value"] for turn in turns if turn["type"] == "text" and turn["from"] == role)
        for key, role in (("question", "User"), ("answer", "Assistant"))
    }
    cuts = []
    for number, turn in enumerate(spoken):
        cut = _cut(turn, folder).with_id(f"{row['id']}-{number}")
        cut.supervisions = [
            SupervisionSegment(
                id=cut.id,
                recording_id=cut.recording_id,
                start=0,
                duration=cut.duration,
                text=turn.get("text"),
                language=custom.get("lang"),
                speaker=custom.get("voice"),
            )
        ]
        # Several clips belong to one exchange; only of a single one can its question be asked.
        cut.custom = {**custom, "conversation": row["id"], **(said if len(spoken) == 1 else {})}
        cuts.append(cut)
    return cuts


def _cut(turn: Mapping[str, Any], folder: Path) -> "Cut":
    from lhotse import Recording

    path = folder / turn["value"]
    try:
        recording = Recording.from_file(path)
    except Exception as error:
        raise VTBError(f"{path} cannot be packed: {error}") from error
    cut = recording.to_cut()
    offset, seconds = turn.get("offset") or 0.0, turn.get("duration") or recording.duration
    if offset == 0 and abs(seconds - recording.duration) <= _EXACT:
        return cut
    return cut.truncate(offset=offset, duration=min(seconds, recording.duration - offset))
