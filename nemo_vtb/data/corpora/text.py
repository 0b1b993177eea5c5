"""Corpora of written chats: the tables or JSON of a local copy as conversations."""

from collections.abc import Iterator
from typing import Any

from nemo_vtb.data.corpora.rows import Asked, Row, records, some
from nemo_vtb.errors import VTBError

_ROLES = {"human": "User", "user": "User", "gpt": "Assistant", "assistant": "Assistant", "system": "System"}
_FIELDS = ("messages", "conversations", "conversation")


def chats(asked: Asked) -> Iterator[Row]:
    """Chats of ``messages`` (role, content) or ``conversations`` (from, value); those that end without an answer go."""
    for file in some(asked.folder, "**/*.parquet", "**/*.jsonl", "**/*.json"):
        split = "test" if file.name.startswith("test") else "train"
        for number, (where, row) in enumerate(records(file), 1):
            turns = list(_turns(row, where))
            while turns and turns[-1]["from"] != "Assistant":
                turns.pop()
            if turns:
                name = str(row.get("id") or row.get("prompt_id") or row.get("uuid") or f"{file.stem}-{number}")
                yield Row(split, "text", {"id": name, "conversations": turns})


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
        if words.strip():
            yield {"from": _ROLES[role], "type": "text", "value": words}
