"""Writes the tables of figures in the Markdown files from the JSON that was measured.

python examples/benchmarks/tables.py            # writes them again where the figures have changed
python examples/benchmarks/tables.py --check    # names those that differ, and fails

Above a table stands ``<!-- figures: NAME -->``. Its rows are ``tables/NAME.jinja``, in which every JSON file of
``results/`` goes by its name, ``study`` and ``study_qwen`` are their ``study.json``, ``cards`` the data cards.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results"
_TABLE = re.compile(r"^<!-- figures: (?P<name>[\w/]+) -->\n(?P<rows>(?:\|.*\n)*)", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a table differs")
    args = parser.parse_args()
    differing = 0
    for path in markdown_files():
        text = path.read_text(encoding="utf-8")
        fresh = filled(text)
        if fresh != text:
            differing += 1
            print(path.relative_to(ROOT))
            if not args.check:
                path.write_text(fresh, encoding="utf-8")
    return int(args.check and differing > 0)


def markdown_files() -> list[Path]:
    """The Markdown files that git knows, or would add."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT, text=True
    )
    return sorted(path for name in listed.split("\0") if name and (path := ROOT / name).exists())


def names(text: str) -> list[str]:
    """The names of the tables in a page."""
    return [match["name"] for match in _TABLE.finditer(text)]


def filled(text: str) -> str:
    """A page with its tables written again."""
    return _TABLE.sub(lambda match: f"<!-- figures: {match['name']} -->\n{table(match['name'])}", text)


def table(name: str, **measured: Any) -> str:
    """The rows of a table, a line each; of what was just measured, where it is given under the name of its file."""
    return _environment().get_template(f"{name}.jinja").render(measured).strip() + "\n"


def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(HERE / "tables"), undefined=StrictUndefined, trim_blocks=True)
    made.filters |= {
        "percent": _percent,
        "interval": _interval,
        "count": "{:,}".format,
        "fixed": _fixed,
        "words": _words,
    }
    made.globals |= dict(_measured())
    return made


def _measured() -> Iterator[tuple[str, Any]]:
    for path in RESULTS.glob("*.json"):
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))
    for path in RESULTS.glob("*/study.json"):
        yield path.parent.name, json.loads(path.read_text(encoding="utf-8"))
    yield "cards", {path.stem: json.loads(path.read_text()) for path in (RESULTS / "data_cards").glob("*.json")}
    yield "rows", _rows
    yield "two_ranks", json.loads((ROOT / "examples" / "slurm" / "two_ranks.json").read_text(encoding="utf-8"))


def _rows(name: str) -> list[dict[str, Any]]:
    """The rows of a file in ``examples/corpora``."""
    return [
        json.loads(line) for line in (ROOT / "examples" / "corpora" / name).read_text(encoding="utf-8").splitlines()
    ]


def _words(text: str) -> list[str]:
    sys.path.append(str(ROOT / "examples" / "corpora"))
    from said.words import word_list

    return word_list(text)


def _fixed(value: float, digits: int = 0) -> str:
    return f"{value:,.{digits}f}"


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f}"


def _interval(score: Mapping[str, float]) -> str:
    """A share as percent, with its 95 % interval."""
    value, low, high = (_percent(score[key]).replace("-", "−") for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    sys.exit(main())
