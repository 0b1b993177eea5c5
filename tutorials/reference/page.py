"""Markdown of the pages; a key keeps the version since which the page has had it."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rows import REQUIRED, Row

from nemo_vtb import __version__

_ROW = re.compile(r"^\| `(?P<key>[^`]+)` \|.*\| (?P<since>\d+(?:\.\w+)+) \|$", re.MULTILINE)
_WIDTH = 60


@dataclass(frozen=True)
class Section:
    """A table.

    Attributes:
        title: Its heading.
        path: What stands in front of each key; empty for the whole config.
        rows: The keys.
        note: Behind the heading.
        refused: Keys that are refused with the reason.
    """

    title: str
    path: str
    rows: Sequence[Row]
    note: str = ""
    refused: dict[str, str] = field(default_factory=dict)

    def key(self, row: Row) -> str:
        """The whole key."""
        return f"{self.path}.{row.key}" if self.path else row.key


def page(title: str, intro: str, sections: Sequence[Section], before: str) -> str:
    """Renders a page.

    Args:
        title: Its heading.
        intro: Below it.
        sections: Its tables.
        before: The page as it stands, which knows since when a key has been there.
    """
    since = versions_of(before)
    return "\n".join([f"# {title}", "", intro, *(line for one in sections for line in _table(one, since))]) + "\n"


def versions_of(text: str) -> dict[tuple[str, str], str]:
    """Since when a page has had each key, by heading and key."""
    tables = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)[1:]
    return {
        (title, found["key"]): found["since"]
        for title, table in zip(tables[::2], tables[1::2], strict=True)
        for found in _ROW.finditer(table)
    }


def _table(section: Section, since: dict[tuple[str, str], str]) -> Iterator[str]:
    yield from ("", f"## {section.title}", "")
    if section.note:
        yield from (section.note, "")
    if section.rows:
        yield "| key | holds | default | | since |"
        yield "|---|---|---|---|---|"
    for row in section.rows:
        key = section.key(row)
        version = since.get((section.title, key), __version__)
        cells = (f"`{key}`", _cell(row.holds), _default(row.default), _cell(row.says), version)
        yield f"| {' | '.join(cells)} |"
    if section.refused:
        yield from ("", "| refused | why |", "|---|---|")
        yield from (f"| `{key}` | {_cell(why)} |" for key, why in section.refused.items())


def _cell(text: str) -> str:
    return re.sub(r"``(.+?)``", r"`\1`", re.sub(r"\bNone\b", "null", text).replace("|", "\\|"))


def _default(value: Any) -> str:
    if value == REQUIRED:
        return "**needed**"
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    if isinstance(value, str) and not value:
        text = '""'
    text = text if len(text) <= _WIDTH else f"{text[:_WIDTH]} …"
    return f"`{text}`".replace("|", "\\|")
