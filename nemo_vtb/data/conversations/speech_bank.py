"""A bank of spoken sentences, found by their words: what ``vtb synth speech`` makes, or recordings."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lhotse.cut import Cut

from nemo_vtb.data.audio.audio_stores import AudioFolder
from nemo_vtb.data.conversations.prompt_pool import stable_hash
from nemo_vtb.data.conversations.target_text import without_punctuation
from nemo_vtb.data.conversations.turns import clip
from nemo_vtb.data.files.rows import BadRow, BadRows, open_lines, parse_line
from nemo_vtb.data.row_forms.switches import is_skipped
from nemo_vtb.data.row_forms.values import field
from nemo_vtb.errors import VTBError

_DAY = 86_400.0
_ENTRY = np.dtype([("key", "<u8"), ("voice", "<u8"), ("offset", "<i8"), ("file", "<i4"), ("seconds", "<f4")])


@dataclass(frozen=True)
class SpokenSentence:
    """One recording of a sentence.

    Attributes:
        voice: Who speaks; 0 where the bank does not say.
        seconds: Its length; 0 where the bank does not say.
        file: Number of the bank's file.
        offset: Byte of its row.
    """

    voice: int
    seconds: float
    file: int
    offset: int


class SpeechBank:
    """Spoken sentences, 32 bytes each in memory.

    Args:
        paths: JSONL files of ``text``, ``audio_filepath``, ``duration``, and ``voice`` or ``speaker``.
        root: As in AudioFolder.
        max_bad_share: Share of rows that may be unusable.

    Raises:
        VTBError: If a file is missing, or too many rows are bad.
    """

    def __init__(self, paths: Sequence[Path], root: Path | None = None, max_bad_share: float = 0.0) -> None:
        self._paths = list(paths)
        self._stores = [AudioFolder(path.parent, root) for path in paths]
        parts = [self._read(number, path, max_bad_share) for number, path in enumerate(paths)]
        rows = np.concatenate(parts) if parts else np.zeros(0, dtype=_ENTRY)
        if not len(rows):
            raise VTBError(f"speak.bank {', '.join(map(str, paths))} holds no spoken sentence")
        self._rows = rows[np.argsort(rows["key"], kind="stable")]

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, text: str) -> list[SpokenSentence]:
        """Returns every recording of a sentence; case and punctuation are not heard and do not count."""
        key = np.uint64(_key(text))
        start, end = (int(np.searchsorted(self._rows["key"], key, side)) for side in ("left", "right"))
        return [
            SpokenSentence(int(row["voice"]), float(row["seconds"]), int(row["file"]), int(row["offset"]))
            for row in self._rows[start:end]
        ]

    def cut(self, spoken: SpokenSentence) -> Cut:
        """Opens a recording.

        Raises:
            BadRow: If it is not there.
        """
        return clip(self.row(spoken), "audio_filepath", self._stores[spoken.file])

    def row(self, spoken: SpokenSentence) -> dict[str, Any]:
        """Reads the row of a recording."""
        with open_lines(self._paths[spoken.file]) as lines:
            lines.seek(spoken.offset)
            return parse_line(lines.readline())

    def _read(self, number: int, path: Path, max_bad_share: float) -> np.ndarray:
        if path.suffix == ".gz":
            raise VTBError(f"speak.bank {path}: unpack it; its rows are read at their places")
        keys, voices, offsets, seconds = array("Q"), array("Q"), array("q"), array("f")
        bad = BadRows(max_bad_share)
        offset = 0
        with open_lines(path) as lines:
            for line_number, line in enumerate(lines, start=1):
                if line.strip():
                    try:
                        if is_skipped(row := parse_line(line)):
                            offset += len(line)
                            continue
                        key, voice, length = _described(row)
                    except BadRow as error:
                        bad.skip(error.reason, f"{path}:{line_number}: {error}")
                    else:
                        bad.good += 1
                        keys.append(key)
                        voices.append(voice)
                        offsets.append(offset)
                        seconds.append(length)
                offset += len(line)
        bad.check(str(path))
        rows: np.ndarray = np.zeros(len(keys), dtype=_ENTRY)
        rows["key"], rows["voice"], rows["offset"], rows["seconds"] = keys, voices, offsets, seconds
        rows["file"] = number
        return rows


def _described(row: dict[str, Any]) -> tuple[int, int, float]:
    """Key, voice and length of a row."""
    text = field(row, "text", str)
    field(row, "audio_filepath", str)
    if not text.strip():
        raise BadRow("missing field", "'text' is empty")
    voice = row.get("voice", row.get("speaker"))
    seconds = row.get("duration")
    length = float(seconds) if isinstance(seconds, (int, float)) and 0 < seconds < _DAY else 0.0
    return _key(text), 0 if voice is None else stable_hash(voice), length


def _key(text: str) -> int:
    return stable_hash(without_punctuation(text).lower())
