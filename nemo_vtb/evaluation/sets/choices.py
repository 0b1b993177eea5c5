"""Multiple choice that is scored by likelihood: which of its options an LLM would say, without a word generated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from nemo_vtb.data.files.locations import locate
from nemo_vtb.data.files.rows import placed_rows
from nemo_vtb.errors import VTBError

BY = ("byte", "total")


@dataclass(frozen=True)
class Choice:
    """One question.

    Attributes:
        id: Of its row.
        prompt: What the user asks.
        options: Answers to choose from, each as the assistant would say it.
        answer: Place of the right one.
        by_byte: Whether costs are compared per byte, so that long options are not worse off, or as they are.
    """

    id: str
    prompt: str
    options: Sequence[str]
    answer: int
    by_byte: bool = True

    def chosen(self, nats: Sequence[float]) -> int:
        """Place of the option that costs least.

        Args:
            nats: What each option costs, without the end of the turn.
        """
        sizes = [len(option.encode()) if self.by_byte else 1 for option in self.options]
        costs = [cost / size for cost, size in zip(nats, sizes, strict=True)]
        return costs.index(min(costs))


def choice_rows(path: str, by: str = BY[0]) -> list[Choice]:
    """Reads rows of ``id``, ``prompt``, ``options`` and ``answer``, the place of the right option from 0.

    Args:
        path: Of the file.
        by: One of ``BY``: what options are compared by.

    Raises:
        VTBError: With file and line on a row that is none, or whose id is that of another.
    """
    found = [_choice(row, where, by == BY[0]) for where, row in placed_rows(path)]
    ids = [choice.id for choice in found]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise VTBError(f"{locate(path)}: the id '{twice}' stands there twice; give each row its own, or leave one out")
    return found


def common_start(rows: Sequence[Sequence[int]]) -> int:
    """How many ids all rows begin with."""
    return next((place for place, column in enumerate(zip_longest(*rows)) if len(set(column)) > 1), len(rows[0]))


def _choice(row: Mapping[str, Any], where: str, by_byte: bool) -> Choice:
    options, answer = row.get("options"), row.get("answer")
    if not isinstance(row.get("id"), str) or not isinstance(row.get("prompt"), str):
        raise VTBError(f"{where}: a row of type choices has id, prompt, options and answer; id or prompt is no text")
    if not isinstance(options, list) or len(options) < 2 or not all(isinstance(o, str) and o.strip() for o in options):
        raise VTBError(f"{where}: options is {options!r}; it lists at least two texts")
    if len(set(options)) < len(options):
        raise VTBError(f"{where}: an option stands there twice, so that the right one is not known; leave one out")
    if type(answer) is not int or not 0 <= answer < len(options):
        raise VTBError(f"{where}: answer is {answer!r}; it is the place of the right option, 0 to {len(options) - 1}")
    return Choice(row["id"], row["prompt"], options, answer, by_byte)
