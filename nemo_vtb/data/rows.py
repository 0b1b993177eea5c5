"""Reading JSONL with errors that name file and line, and skipping bad rows only as far as the config allows."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nemo_vtb.errors import VTBError

T = TypeVar("T")


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
        if self.max_share <= 0:
            raise VTBError(f"{message} (set data.train_ds.max_bad_share to skip and count such rows)")
        self.reasons[reason] += 1
        self.first.setdefault(reason, message)

    def check(self, where: str) -> None:
        """Raises.

        Raises:
            VTBError: When more than ``max_share`` of the rows were bad.
        """
        bad = sum(self.reasons.values())
        if bad > self.max_share * (bad + self.good):
            examples = "\n  ".join(f"{count} x {self.first[reason]}" for reason, count in self.reasons.items())
            raise VTBError(
                f"{where}: {bad} of {bad + self.good} rows are bad, max_bad_share is {self.max_share}\n  {examples}"
            )


class BadRow(VTBError):
    """One row that cannot become a conversation.

    Args:
        reason: A short name to count by.
        message: What is wrong and the remedy, without file and line.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def parsed_rows(path: str | Path, parse: Callable[[dict[str, Any], str], T], bad: BadRows) -> Iterator[T]:
    """Parses each line of a JSONL file.

    Args:
        path: The file.
        parse: Takes a row and its position ``file:line``; raises BadRow.
        bad: The counter; its limit is checked at the end of the file.

    Raises:
        VTBError: If the file is missing, or too many rows are bad.
    """
    if not Path(path).is_file():
        raise VTBError(f"no such file: {path}")
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{path}:{number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise BadRow("broken JSON", "the line is not a JSON object")
                parsed = parse(row, where)
            except json.JSONDecodeError as error:
                bad.skip("broken JSON", f"{where}: broken JSON: {error.msg} at column {error.colno}")
            except BadRow as error:
                bad.skip(error.reason, f"{where}: {error}")
            else:
                bad.good += 1
                yield parsed
    bad.check(str(path))
