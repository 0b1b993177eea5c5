"""What lint has found, for people and for programs."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nemo_vtb.data.files.notes import REMEDIES as NOTE_REMEDIES
from nemo_vtb.data.files.rows import NOT_BAD, REMEDIES
from nemo_vtb.data.inspection.text_check import REMEDIES as TEXT_REMEDIES
from nemo_vtb.data.sources.copies import row_place

FILE_REMEDIES = {
    "unreadable file": "see the message",
    "not rows": "name it alone, with --type, if it holds rows",
    "row left out": "look whether all of them were meant",
    "file left out": "name it alone if it holds rows",
    "nothing left": "correct only, or name a file that holds rows: training stops where a source gives nothing",
    "damaged tar": "copy or make the tar again; the recordings behind the damage are lost to every reader",
}
WARNINGS = {
    "duplicate id": "give every row an id of its own: bad rows and drawn wordings are told apart by it",
    **TEXT_REMEDIES,
    **NOTE_REMEDIES,
    **{reason: REMEDIES[reason] for reason in NOT_BAD},
}


class Finding(NamedTuple):
    """Something wrong with a row or a file.

    Attributes:
        file: The file.
        line: From 1, the row's number where the file has no line for each; 0 for the whole file.
        severity: ``error`` where training would skip the row or stop; ``note`` where nothing is wrong; ``warning``.
        reason: One of ``REMEDIES`` or ``WARNINGS``.
        message: What is wrong.
    """

    file: str
    line: int
    severity: str
    reason: str
    message: str

    def __str__(self) -> str:
        place = row_place(self.file, self.line) if self.line else self.file
        return f"{place}: {self.severity}: {self.reason}: {self.message}"


@dataclass
class LintResult:
    """What was looked at, and what was found.

    Attributes:
        findings: In the order of the files and their lines.
        rows: Rows looked at.
        files: Files looked at.
        read: Of what was named without a config: sources by what their rows were taken for.
    """

    findings: list[Finding] = field(default_factory=list)
    rows: int = 0
    files: list[str] = field(default_factory=list)
    read: Counter[str] = field(default_factory=Counter)

    def count(self, severity: str) -> int:
        """Number of errors or warnings."""
        return sum(finding.severity == severity for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        remedies = REMEDIES | FILE_REMEDIES | WARNINGS
        reasons = Counter(finding.reason for finding in self.findings)
        return {
            "files": self.files,
            "read_as": dict(self.read),
            "rows": self.rows,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "reasons": {
                reason: {"count": count, "remedy": remedies.get(reason, "")} for reason, count in reasons.most_common()
            },
            "findings": [finding._asdict() for finding in self.findings],
        }
