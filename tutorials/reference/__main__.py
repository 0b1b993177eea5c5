"""Writes the reference: ``tutorials/reference.md`` and the pages of keys beside it.

python tutorials/reference            # writes them again where the code has changed
python tutorials/reference --check    # names those that differ, and fails
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parents[1]


def pages() -> Iterator[tuple[Path, str]]:
    """Yields every page's path and what it should say."""
    from commands import commands_page
    from page import page
    from sections import PAGES

    yield FOLDER / "reference.md", commands_page()
    for one in PAGES:
        path = FOLDER / f"{one.name}.md"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        yield path, page(one.title, one.intro, one.sections(), before)


def main() -> int:
    """Writes, or compares."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--check", action="store_true", help="write nothing; fail where a page differs")
    args = reader.parse_args()
    differing = 0
    for path, text in pages():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            differing += 1
            print(path)
            if not args.check:
                path.write_text(text, encoding="utf-8")
    return int(args.check and differing > 0)


if __name__ == "__main__":
    sys.exit(main())
