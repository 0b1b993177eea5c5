"""Recordings with their transcripts, from any corpus for speech recognition that training reads."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nemo_vtb.data.row_forms.languages import base_language
from nemo_vtb.synthesis.jobs.shard import Item, Shard, clip_name, place_in

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from nemo_vtb.data.sources.formats import RowFile

# Unfit for this purpose, but nothing is wrong with them.
_NOT_BAD = ("clip length",)


@dataclass(frozen=True)
class Recorded:
    """A recording that an item names.

    Attributes:
        text: What is said, as the corpus has it.
        language: ISO 639-1 code, or an empty string where nobody says.
        speaker: As the corpus calls the voice, or an empty string.
        seconds: Length.
        path: The file, absolute; empty where it is no file of its own: in a tar, or a mix.
        offset: Where it begins in the file, in seconds.
        file: Number of the file of rows.
        at: Where the row begins in that file, in bytes.
        sha256: Of the row.
        split: As the corpus calls the part that it belongs to, or an empty string.
    """

    text: str
    language: str
    speaker: str
    seconds: float
    path: str
    offset: float
    file: int
    at: int
    sha256: str
    split: str


def recorded_items(source: Mapping[str, Any], seconds: Sequence[float]) -> Iterator[Item]:
    """Reads the rows of a source; headers of audio files are read, samples are not.

    Args:
        source: An ``input_cfg`` entry of type nemo, nemo_tarred, lhotse or lhotse_shar.
        seconds: Shortest and longest recording.

    Yields:
        Items whose row holds the fields of ``Recorded``, or ``bad`` and ``detail``. Names that stand more than once get
        a number.

    Raises:
        VTBError: On an unknown key or type, or a file that is not there.
    """
    from nemo_vtb.data.files.rows import BadRow, parse_line
    from nemo_vtb.data.sources.disk import open_rows

    times: Counter[str] = Counter()
    for number, file in enumerate(row_files(source, seconds)):
        at = 0
        with open_rows(file.path) as lines:
            for count, line in enumerate(lines, start=1):
                begin, at = at, at + len(line)
                if not line.strip():
                    continue
                where = f"{file.path}:{count}"
                name = f"{file.path.parent.name}/{file.path.name}:{count}"
                try:
                    row = parse_line(line)
                    draw = file.parse(row, where)
                    if draw is None:
                        continue
                    conversation = draw(0)
                    name, turn = conversation.id, conversation.turns[0]
                    about = {**row, **(conversation.custom or {})}
                    path, offset = _place(turn.cut)
                    facts: dict[str, Any] = vars(
                        Recorded(
                            text=turn.text.strip(),
                            language=base_language(_named(about, "lang")),
                            speaker=_named(about, "speaker"),
                            seconds=round(turn.cut.duration, 4),
                            path=path,
                            offset=offset,
                            file=number,
                            at=begin,
                            sha256=sha256(line.strip()).hexdigest(),
                            split=_named(about, "split"),
                        )
                    )
                except BadRow as error:
                    facts = {"bad": error.reason, "detail": str(error)}
                times[name] += 1
                yield Item(name if times[name] == 1 else f"{name}#{times[name]}", facts, where)


def recorded_in(item: Item, shard: Shard) -> Recorded | None:
    """The recording of an item; None where its row is bad, which is noted."""
    if "bad" not in item.row:
        return Recorded(**item.row)
    reason, detail = item.row["bad"], item.row["detail"]
    shard.drop(item.id, reason, f"{item.where}: {detail}", bad=reason not in _NOT_BAD)
    return None


def row_files(source: Mapping[str, Any], seconds: Sequence[float]) -> "list[RowFile]":
    """The files of a source.

    Raises:
        VTBError: On an unknown key or type.
    """
    from nemo_vtb.data.conversations.kinds import ALIGN
    from nemo_vtb.data.sources.source import Reading, named_files

    entry = {key: value for key, value in source.items() if value is not None}
    reading = Reading("<|audio|>", 0.08, max_seconds=seconds[1], min_seconds=seconds[0])
    return named_files(entry, ALIGN, reading)[1]


def clip_in(
    recorded: Recorded, files: "Sequence[RowFile]", shard: Shard, out: Path, name: str, copied: bool
) -> tuple[str, float]:
    """Where a recording stands, as rows name it; one that is no file of its own becomes a clip.

    Args:
        recorded: What is named.
        files: Of the source it stands in.
        shard: Takes the clip.
        out: Folder of the job.
        name: Id of the item, which a clip is named after.
        copied: Whether whole files become clips too.

    Returns:
        Path and seconds.

    Raises:
        BadRow: If the row or its audio has become unusable since.
    """
    if recorded.path and not recorded.offset and not copied:
        return place_in(out, Path(recorded.path)), recorded.seconds
    samples, rate = samples_of(recorded, files)
    return shard.clip(clip_name(name), samples, rate)


def samples_of(recorded: Recorded, files: "Sequence[RowFile]") -> tuple[np.ndarray, int]:
    """Reads a recording; of several channels the mean.

    Args:
        recorded: What is read.
        files: Of the source it stands in.

    Returns:
        Float32 mono samples ``(samples,)`` and their rate in Hz.

    Raises:
        BadRow: If the row or its audio has become unusable since.
    """
    from nemo_vtb.data.files.rows import BadRow, parse_line
    from nemo_vtb.data.sources.disk import plain

    file = files[recorded.file]
    with open(plain(file.path), "rb") as lines:
        lines.seek(recorded.at)
        line = lines.readline()
    draw = file.parse(parse_line(line), str(file.path))
    if draw is None or sha256(line.strip()).hexdigest() != recorded.sha256:
        raise BadRow("changed file", f"{file.path} has changed at byte {recorded.at}")
    cut = draw(0).turns[0].cut
    try:
        return cut.load_audio().mean(axis=0), cut.sampling_rate
    except Exception as error:  # whatever the decoder of that format raises
        raise BadRow("unreadable audio", f"{cut.id}: {error}") from error


def _place(cut: "Cut") -> tuple[str, float]:
    """The file and the offset of a cut; an empty path where its samples do not stand in a file as they are."""
    from pathlib import Path

    from lhotse import AudioSource
    from lhotse.cut import MonoCut

    if not isinstance(cut, MonoCut) or cut.recording is None or cut.recording.transforms:
        return "", 0.0
    sources = cut.recording.sources
    if len(sources) != 1 or type(sources[0]) is not AudioSource or sources[0].type != "file":
        return "", 0.0
    return str(Path(str(sources[0].source)).absolute()), round(cut.start, 4)


def _named(about: Mapping[str, Any], key: str) -> str:
    return about[key] if isinstance(about.get(key), str) else ""
