"""Corpora of written chats: the tables or JSON of a local copy as conversations."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nemo_vtb.data.corpora.rows import Asked, Row, some
from nemo_vtb.errors import VTBError

_ROLES = {"human": "User", "user": "User", "gpt": "Assistant", "assistant": "Assistant", "system": "System"}
_FIELDS = ("messages", "conversations", "conversation")


def chats(asked: Asked) -> Iterator[Row]:
    """Chats of ``messages`` (role, content) or ``conversations`` (from, value); those that end without an answer go."""
    for file in some(asked.folder, "**/*.parquet", "**/*.jsonl", "**/*.json"):
        split = "test" if file.name.startswith("test") else "train"
        for number, row in enumerate(_rows(file), 1):
            where = f"{file}:{number}"
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


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    if file.suffix == ".parquet":
        try:
            import pyarrow.parquet as parquet
        except ImportError as error:
            raise VTBError("tables need pyarrow: pip install 'nemo-vtb[tables]'") from error
        for batch in parquet.ParquetFile(file).iter_batches(1024):
            yield from batch.to_pylist()
    elif file.suffix == ".jsonl":
        with file.open(encoding="utf-8") as lines:
            yield from (json.loads(line) for line in lines if line.strip())
    else:
        yield from json.loads(file.read_text(encoding="utf-8"))
