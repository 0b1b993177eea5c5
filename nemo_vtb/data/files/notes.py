"""What is worth saying of rows that are good all the same, counted: training says it once, lint by its reason."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

REMEDIES = {
    "unread field": "read its documentation: rename the field to one that is read, or take it out",
    "other normalisation": "write the name as the file has it: the file is found here, other readers compare bytes",
    "channels averaged": "set channel_selector beside the file's name in input_cfg; average where that is meant",
    "overlapping speech": "cut it by supervision, cuts.trim_to_supervisions(), where each is to be heard alone",
    "silent clip": "see whether it was recorded at all: words that nobody hears teach the model to make them up",
    "words beside a clip": "write what the user says about the clip as a part of type text; a transcript may stay",
    "unknown language": "write a tag of BCP 47 such as de or pt-BR, or name the language in the pool's languages",
    "no wordings": "add wordings in the language to a pool, and name it with prompts; English ones ask until then",
}
# Worth knowing, and nothing to be mended.
NO_FAULT = ("no wordings", "words beside a clip")


class Note(NamedTuple):
    """Something that is said of rows.

    Attributes:
        reason: One of ``REMEDIES``.
        message: What it is, the same for every row that it is true of.
    """

    reason: str
    message: str


_collected: ContextVar[Counter[Note] | None] = ContextVar("_collected", default=None)


@contextmanager
def collect_notes() -> Iterator[Counter[Note]]:
    """Collects what is noted while rows are parsed; outside of it notes are lost."""
    notes: Counter[Note] = Counter()
    token = _collected.set(notes)
    try:
        yield notes
    finally:
        _collected.reset(token)


def note(reason: str, message: str) -> None:
    """Says something of the row that is being parsed."""
    if (notes := _collected.get()) is not None:
        notes[Note(reason, message)] += 1
