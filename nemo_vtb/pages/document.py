"""How a page is made: a template, one stylesheet, and what templates may call."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nemo_vtb.data.conversations.kinds import KINDS
from nemo_vtb.pages.clips import playable
from nemo_vtb.reports.figures import MISSING, decimal, duration, language, percent, points

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
_TOGETHER = re.compile(r" → |\[[^][]*, [^][]*\]")


class Tile(NamedTuple):
    """A figure at the top of a page.

    Attributes:
        title: What it is.
        value: The figure.
        lines: What stands below it.
        bad: Whether it is cause for concern.
    """

    title: str
    value: str
    lines: Sequence[str] = ()
    bad: bool = False


class Figure(NamedTuple):
    """A chart as a card, with a note on how to read it; see ``svg_of``."""

    title: str
    note: str
    chart: Any


def render(
    page: str,
    headline: str,
    cautions: Sequence[str],
    environment: Mapping[str, Any],
    raw_json: str,
    **shown: Any,
) -> str:
    """Renders a self-contained HTML page that may fetch and run nothing; every text in it is escaped.

    Args:
        page: Name of the template.
        headline: What was found, in a sentence.
        cautions: What to keep in mind, a sentence each.
        environment: Of the report, folded up at the end.
        raw_json: The report as written, likewise.
        shown: What the page's own template takes.
    """
    template = _environment().get_template(f"{page}.html.jinja")
    settled = list(_flat(environment))
    return template.render(headline=headline, cautions=cautions, environment=settled, raw_json=raw_json, **shown)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "percent": percent,
        "points": points,
        "decimal": decimal,
        "duration": duration,
        "language": language,
        "unbroken": _unbroken,
        "count": lambda n: MISSING if n is None else f"{n:,.0f}",
    }
    made.globals |= {"playable": playable, "kinds": KINDS}
    return made


def _unbroken(sentence: str) -> str:
    """Keeps ``before → after`` and ``[low, high]`` on one line."""
    return _TOGETHER.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), sentence)


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield key, MISSING if value is None else str(value)
