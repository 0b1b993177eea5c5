"""Corpora of written chats: the tables or JSON of a local copy as conversations."""

from collections.abc import Iterator
from typing import Any

from nemo_vtb.data.corpora.rows import Asked, Row, records, some
from nemo_vtb.errors import VTBError

_ROLES = {"human": "User", "user": "User", "gpt": "Assistant", "assistant": "Assistant", "system": "System"}
_FIELDS = ("messages", "conversations", "conversation")


def chats(asked: Asked) -> Iterator[Row]:
    """Chats of ``messages`` (role, content) or ``conversations`` (from, value); those without an answer go, counted."""
    for file in some(asked.folder, "**/*.parquet", "**/*.jsonl", "**/*.json"):
        split = "test" if file.name.startswith("test") else "train"
        for number, (where, row) in enumerate(records(file), 1):
            turns = list(_turns(row, where))
            answered = _answered(turns, asked)
            if answered:
                name = str(row.get("id") or row.get("prompt_id") or row.get("uuid") or f"{file.stem}-{number}")
                yield Row(split, "text", {"id": name, "conversations": answered})


def _answered(turns: list[dict[str, str]], asked: Asked) -> list[dict[str, str]]:
    """A chat up to its last answer; empty where it has none, or a question without words."""
    end = len(turns)
    while end and not (turns[end - 1]["from"] == "Assistant" and turns[end - 1]["value"].strip()):
        end -= 1
    # An empty system prompt says nothing. An empty question or answer stands between others, which shall not be joined.
    kept = [turn for turn in turns[:end] if turn["from"] != "System" or turn["value"].strip()]
    if not kept:
        asked.left_out["chats without an answer"] += 1
    elif any(turn["from"] == "User" and not turn["value"].strip() for turn in kept):
        asked.left_out["chats with an empty question"] += 1
        return []
    elif end < len(turns):
        asked.left_out["last turns that nobody answers, cut off"] += 1
    return kept


def _turns(row: dict[str, Any], where: str) -> Iterator[dict[str, str]]:
    said = next((row[name] for name in _FIELDS if row.get(name) is not None), None)
    if said is None and {"instruction", "response"} <= row.keys():
        said = [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["response"]}]
    if said is None:
        raise VTBError(f"{where} has none of {', '.join(_FIELDS)}, nor instruction and response")
    for turn in said:
        role = str(turn.get("role") or turn.get("from"))
        words = turn.get("content") if turn.get("content") is not None else turn.get("value")
        if role not in _ROLES or not isinstance(words, str):
            raise VTBError(f"{where}: a turn of '{role}' is no message of user, assistant or system")
        yield {"from": _ROLES[role], "type": "text", "value": words}
