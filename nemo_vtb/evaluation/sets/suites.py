"""Text suites of ``vtb eval`` that need no hub: verifiable replies, word problems, choices, held-out chats."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nemo_vtb.config import check_keys
from nemo_vtb.data.files.rows import placed_rows
from nemo_vtb.data.sources.source import Reading
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import Task
from nemo_vtb.evaluation.sets.choices import BY, Choice, choice_rows
from nemo_vtb.evaluation.sets.held_out import drawn_at_most, suite_rows, text_conversations, text_task
from nemo_vtb.options import Key

KEYS = {
    "type": Key("replies, word_problems, choices, likelihood", "How its rows are read and scored."),
    "path": Key("a path", "Of its rows; it may begin with corpora: or asset:NAME/."),
    "at_most": Key("int or null", "Rows to draw; null takes all.", None),
    "max_new_tokens": Key("int or null", "Longest answer; null: max_new_tokens of the section above.", None),
    "by": Key("byte or total", "Of choices: what a byte of each option costs, or what all of it costs.", "byte"),
}
_ASSET = "asset:"
_RESULT = "####"


@dataclass(frozen=True)
class Suite:
    """What a suite holds, one of three.

    Attributes:
        tasks: Prompts that are answered.
        chats: Conversations whose likelihood is measured.
        choices: Questions whose options are compared by likelihood.
    """

    tasks: Sequence[Task] = ()
    chats: Sequence[Any] = ()
    choices: Sequence[Choice] = ()


def read_suite(entry: Mapping[str, Any], where: str, reading: Reading) -> Suite:
    """Reads a suite.

    Args:
        entry: ``path``, how many rows to draw ``at_most``, and ``type``:

            * ``replies``: rows of ``id``, ``prompt`` and ``check``.
            * ``word_problems``: rows of GSM8K, ``question`` and ``answer`` with the result behind ``####``.
            * ``choices``: rows of ``id``, ``prompt``, ``options`` and ``answer``, the place of the right one from 0.
            * ``likelihood``: text conversations, none of which is answered.

            A path may begin with ``corpora:``, or with ``asset:`` and the name of a packaged asset.
        where: The entry's place in the config.
        reading: How conversations are read.

    Raises:
        VTBError: On an unknown key or type, or a file that is missing, empty or holds something else.
    """
    check_keys(entry, KEYS, where)
    kind = entry.get("type")
    if kind not in (*_READERS, "choices", "likelihood"):
        raise VTBError(f"{where}.type is '{kind}'; it may be {', '.join(_READERS)}, choices or likelihood")
    if entry.get("by", BY[0]) not in BY or ("by" in entry and kind != "choices"):
        raise VTBError(f"{where}.by is {entry['by']!r}; it may be {' or '.join(BY)}, and belongs to type choices")
    if not isinstance(entry.get("path"), str):
        raise VTBError(f"{where} has no path")
    try:
        path = _path(entry["path"])
        rows: Sequence[Any]
        if kind == "choices":
            rows = choice_rows(path, entry.get("by", BY[0]))
        else:
            rows = text_conversations(path, reading) if kind == "likelihood" else _READERS[kind](path)
        if not rows:
            raise VTBError(f"{path} has no rows, so there is nothing to ask")
    except VTBError as error:
        raise VTBError(f"{where}: {error}") from error
    chosen = drawn_at_most(rows, entry.get("at_most"), where)
    if kind == "choices":
        return Suite(choices=chosen)
    return Suite(chats=chosen) if kind == "likelihood" else Suite(tasks=[text_task(row) for row in chosen])


def _word_problems(path: str) -> list[dict[str, Any]]:
    return [_word_problem(row, where) for where, row in placed_rows(path)]


def _word_problem(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    file, _, number = where.rpartition(":")
    try:
        result = str(row["answer"]).rpartition(_RESULT)[2].replace(",", "").strip()
        check = {"type": "number", "answer": float(result)}
        return {"id": f"{Path(file).stem}:{number}", "prompt": str(row["question"]), "check": check}
    except (KeyError, ValueError) as error:
        raise VTBError(f"{where}: a word problem has a question and an answer that ends in #### NUMBER") from error


def _path(named: str) -> str:
    if not named.startswith(_ASSET):
        return named
    from nemo_vtb.assets import resolve

    name, _, rest = named.removeprefix(_ASSET).partition("/")
    return str(Path(resolve(name)) / rest)


_READERS: dict[Any, Callable[[str], list[dict[str, Any]]]] = {"replies": suite_rows, "word_problems": _word_problems}
