"""Reading JSONL with errors that name file and line, and skipping bad rows only as far as the config allows."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from nemo_vtb.data.files.locations import locate
from nemo_vtb.errors import VTBError

# What can be wrong with a row, with the remedy. Counters, lint and reports use these names.
REMEDIES = {
    "broken JSON": "write one UTF-8 JSON object per line",
    "missing field": "add the field, or name the data type that fits the file",
    "contradiction": "keep the one that is meant, and take the other out",
    "wrong number": "write a number of at least 0, such as 5.5, or take the field out where it is not known",
    "unknown role": "name the speaker User, Assistant or System",
    "turn order": "begin with the user's turn, after at most one system turn",
    "no assistant turn": "add the answer the model shall learn",
    "nothing supervised": "give the answer a text, or take out the switch that says that nothing is learnt",
    "another task": "read each task as its own kind: translations as ast, and as asr only: {taskname: asr}",
    "loss switch": "write true or false, or take the field out",
    "tool turn": "take the calls of tools out of the row, or the row out of the file",
    "other media": "take images and videos out, with the questions about them: there is speech and text here",
    "reasoning": "take the field out, or write the reasoning into the answer's text",
    "unknown turn type": "write text or audio",
    "clip in text": "give the turn the type audio, or name the clip under 'audios' with a placeholder in the text",
    "clip in another field": "make the clip a turn of type audio, or take the field out",
    "audio answer": "answers are text: give the assistant's turn a transcript instead of a clip",
    "wrong placeholder count": "name one recording for each audio placeholder, and write one for each recording",
    "missing audio": "restore the file, or correct the path",
    "unsafe path": "keep audio below the manifest's folder, or name its folder as audio_root",
    "unreadable audio": "encode the file again",
    "truncated audio": "restore the whole file, or correct the duration in the manifest",
    "zero length": "remove the row: there is nothing to hear",
    "wrong claim": "correct the row, or leave the field out: the recording itself says what it is",
    "which channel": "set channel_selector beside the file's name in input_cfg: a number, the name of the row's field, "
    "or average",
    "remote audio": "copy the recordings to a disk, or mount them",
    "outside the cut": "cut the supervisions as the recording: cuts.trim_to_supervisions(), or leave them out",
    "several utterances": "cut it by supervision: cuts.trim_to_supervisions()",
    "clip length": "cut the recording, or change min_duration and max_duration",
    "not finite": "encode the file again without NaN and infinite samples",
    "far too loud": "divide integers by their full scale before they are kept as floats",
    "no fitting prompt": "add a wording to the prompt pool that this row's text can follow",
    "missing language": "name the languages in the row or under tags (source_lang, target_lang)",
    "too long": "raise batch_tokens, or shorten the conversation",
    "unreadable row": "see the message; a row should never bring a reader down",
    "changed file": "leave files alone while they are trained on; a new start measures what has changed",
    "not in speech bank": "synthesise the missing sentences, or let them be: such rows do not count as bad",
}
# Left out and counted, but not wrong: max_bad_share does not concern them.
NOT_BAD = ("not in speech bank",)


@dataclass
class BadRows:
    """Counts what was skipped.

    Attributes:
        max_share: Largest share of rows that may be skipped; 0 stops at the first.
        good: Rows kept.
        reasons: Rows skipped by reason.
        first: The first message of each reason.
    """

    max_share: float = 0.0
    good: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def skip(self, reason: str, message: str) -> None:
        """Counts a bad row.

        Raises:
            VTBError: At once when no row may be skipped.
        """
        if self.max_share <= 0 and reason not in NOT_BAD:
            raise VTBError(f"{message} (set data.train_ds.max_bad_share to skip and count such rows)")
        self.reasons[reason] += 1
        self.first.setdefault(reason, message)

    def check(self, where: str) -> None:
        """Raises.

        Raises:
            VTBError: When more than ``max_share`` of the rows were bad.
        """
        bad = sum(count for reason, count in self.reasons.items() if reason not in NOT_BAD)
        if bad > self.max_share * (bad + self.good):
            reasons = ((reason, count) for reason, count in self.reasons.items() if reason not in NOT_BAD)
            examples = "\n  ".join(f"{count} x {self.first[reason]}" for reason, count in reasons)
            raise VTBError(
                f"{where}: {bad} of {bad + self.good} rows are bad, max_bad_share is {self.max_share}\n  {examples}"
            )


class BadRow(VTBError):
    """One row that cannot become a conversation.

    Args:
        reason: A short name to count by, one of ``REMEDIES``.
        message: What is wrong, without file and line.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        """Survives the way from a worker process, which Exception alone does not with two arguments."""
        return type(self), (self.reason, str(self))


def parse_line(line: bytes, make: Callable[[Any], dict[str, Any]] = dict) -> dict[str, Any]:
    """Parses one line of a JSONL file.

    Args:
        line: The line.
        make: Makes an object of its pairs, those within others included.

    Raises:
        BadRow: If it is not a JSON object in UTF-8.
    """
    try:
        row = _decoder(make).decode(line.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        behind = f": {error.doc[error.pos : error.pos + 20].strip()!r}" if error.msg == "Extra data" else ""
        raise BadRow("broken JSON", f"broken JSON: {error.msg} at column {error.colno}{behind}") from error
    except UnicodeDecodeError as error:
        raise BadRow("broken JSON", f"broken JSON: the line is {not_utf8(error)}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested thousandfold
        raise BadRow("broken JSON", f"broken JSON: {error}") from error
    if not isinstance(row, dict):
        listed = ": the file is an array, write one object per line (jq -c '.[]')" if isinstance(row, list) else ""
        raise BadRow("broken JSON", f"the line is not a JSON object{listed}")
    return row


def not_utf8(error: UnicodeDecodeError) -> str:
    """Says which byte is not UTF-8, and what to do about it."""
    byte = error.object[error.start]
    return f"not UTF-8 at byte {error.start} (0x{byte:02x}): iconv -f LATIN1 -t UTF-8, if it was written as Latin-1"


@cache
def _decoder(make: Callable[[Any], dict[str, Any]]) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=None if make is dict else make)


def open_lines(path: str | Path) -> Any:
    """Opens a file of lines for reading bytes, unpacking ``.gz``.

    Raises:
        VTBError: If there is no such file.
    """
    if not Path(path).is_file():
        raise VTBError(f"no such file: {path}")
    return gzip.open(path, "rb") if str(path).endswith(".gz") else open(path, "rb")


def placed_rows(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each row of a JSONL file in which every row must be good, with its place; empty lines are left out.

    Args:
        path: As a config names it; see ``locations.locate``.

    Yields:
        ``file:line``, and the row.

    Raises:
        VTBError: If there is no such file, or with file and line where a line is no row.
    """
    file = locate(path)
    with open_lines(file) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = parse_line(line)
            except BadRow as error:
                raise VTBError(f"{file}:{number}: {error}") from error
            yield f"{file}:{number}", row
