import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from row_reader import parsed_rows

from nemo_vtb.data.conversations.chat_rows import RowContext
from nemo_vtb.data.conversations.turns import ClipRules
from nemo_vtb.data.files.rows import BadRows
from nemo_vtb.data.sources.formats import row_files


@pytest.fixture(scope="session")
def context() -> Callable[..., RowContext]:
    """Makes what the rows of a source share."""

    def make(kind: str = "asr", **options: Any) -> RowContext:
        return RowContext(kind, "test", ClipRules("<|audio|>", 0.0, 30.0), 0.08, **options)

    return make


@pytest.fixture(scope="session")
def read(context: Callable[..., RowContext]) -> Callable[..., list[Any]]:
    """Reads an ``input_cfg`` entry: a draw for each good row, bad ones counted in ``bad`` where that is given."""

    def make(kind: str, bad: BadRows | None = None, **entry: Any) -> list[Any]:
        bad = bad or BadRows()
        files = row_files(entry, context(kind, tags=entry.get("tags") or {}))
        return [draw for file in files for draw in parsed_rows(file.path, file.parse, bad) if draw is not None]

    return make


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., str]:
    """Writes rows, each an object or a text as it stands, and returns the path."""

    def write(*rows: Any, name: str = "rows.jsonl") -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return str(path)

    return write


@pytest.fixture(scope="session")
def said() -> Callable[[Any], list[tuple[str, str]]]:
    """Lists a conversation's ``(role, text)``, clips as ♪."""
    return lambda conversation: [
        (turn.role, "♪" if hasattr(turn, "cut") else turn.value) for turn in conversation.turns
    ]


@pytest.fixture(scope="session")
def two_clips(clips: list[SimpleNamespace]) -> list[SimpleNamespace]:
    """The first two real recordings."""
    return clips[:2]
