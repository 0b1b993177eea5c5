"""What people wrote, of the packaged asset ``english-texts``: chats, word problems with their solutions, articles."""

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from said.open_sentences import rows_of

_CALCULATION = re.compile(r"<<.*?>>")
_EXCHANGES = 3
_ARTICLE, _BEGUN = range(60, 160), 25  # words


def chats(folder: Path) -> Iterator[dict[str, Any]]:
    """The first exchanges of two people, as conversations; the asset's folder is given."""
    for name, said in _said(folder):
        turns = [
            " ".join(text if text.endswith((".", "?", "!")) else f"{text}." for _, text in group if text)
            for _, group in groupby(said, key=lambda message: message[0])
        ]
        turns = turns[: 2 * _EXCHANGES]
        turns = turns[: len(turns) - len(turns) % 2]
        if len(turns) > 1 and all(turns) and any(len(text.split()) >= 5 for text in turns[::2]):
            yield _row(f"chitchat-{name}", turns)


def messages(folder: Path, ids: set[str]) -> Iterator[str]:
    """All messages of the chats with these ids."""
    return (text for name, said in _said(folder) if f"chitchat-{name}" in ids for _, text in said)


def _said(folder: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Names of chats, and who wrote what."""
    for name, chat in sorted(json.loads((folder / "chitchat.json").read_text(encoding="utf-8")).items()):
        yield name, [(message["sender"], message["text"].strip()) for turn in chat["messages"] for message in turn]


def articles(folder: Path) -> Iterator[dict[str, Any]]:
    """The first words of articles and how they go on, as conversations; the asset's folder is given."""
    for number, row in enumerate(rows_of(folder / "wikipedia.jsonl")):
        words = row["0"].split()
        if len(words) in _ARTICLE:
            begun, rest = (" ".join(part) for part in (words[:_BEGUN], words[_BEGUN:]))
            yield _row(f"wikipedia-{number:04d}", [f"Go on with this article: {begun}", rest])


def solved_problems(folder: Path) -> Iterator[dict[str, Any]]:
    """Word problems with their solutions, as conversations; the asset's folder is given."""
    for number, row in enumerate(rows_of(folder / "gsm8k.jsonl")):
        solution, _, result = _CALCULATION.sub("", row["answer"]).partition("####")
        answer = f"{solution.strip()}\nThe answer is {result.strip()}."
        yield _row(f"gsm8k-{number:04d}", [row["question"].strip(), answer])


def _row(name: str, turns: list[str]) -> dict[str, Any]:
    roles = ("User", "Assistant")
    conversations = [{"from": roles[place % 2], "type": "text", "value": text} for place, text in enumerate(turns)]
    return {"id": name, "conversations": conversations, "custom": {"lang": "en"}}
