"""What a file is that should be lines of JSON, told from its first bytes: for messages that name the remedy."""

import json
from pathlib import Path

from nemo_vtb.data.sources.copies import needs_copy
from nemo_vtb.data.sources.disk import is_gzip
from nemo_vtb.errors import VTBError

_HEAD = 4096
_KINDS = (
    (b"\x1f\x8b", "packed with gzip: name it .gz, or unpack it"),
    (b"\x28\xb5\x2f\xfd", "packed with Zstandard: unpack it (zstd -d)"),
    (b"\xfd7zXZ\0", "packed with xz: unpack it (xz -d)"),
    (b"BZh", "packed with bzip2: unpack it (bzip2 -d)"),
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"PAR1", "a Parquet table: name it .parquet"),
    (b"ARROW1", "an Arrow table: name it .arrow"),
    (b"\xff\xff\xff\xff", "an Arrow stream: name it .arrow"),
    (b"SQLite format 3", "an SQLite database"),
    (b"\xff\xfe\0\0", "UTF-32: write it as UTF-8 (iconv -f UTF-32 -t UTF-8)"),
    (b"\0\0\xfe\xff", "UTF-32: write it as UTF-8 (iconv -f UTF-32 -t UTF-8)"),
    (b"\xff\xfe", "UTF-16: write it as UTF-8 (iconv -f UTF-16 -t UTF-8)"),
    (b"\xfe\xff", "UTF-16: write it as UTF-8 (iconv -f UTF-16 -t UTF-8)"),
    (b"version https://git-lfs", "a pointer of Git LFS: the file itself was not fetched (git lfs pull)"),
)
_TAR_MAGIC = slice(257, 262)


def check_lines(path: Path) -> None:
    """Refuses a file that cannot be lines of text, whatever its rows are.

    Raises:
        VTBError: Names what it is, and what to do.
    """
    if needs_copy(path):
        return
    if path.suffix == ".gz":
        if path.stat().st_size and not is_gzip(path):
            raise VTBError(f"{path} is no gzip file in spite of its name: take .gz off its name, or download it again")
        return
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if found := _packed(head):
        raise VTBError(f"{path} is {found}; rows are read from lines of JSON in UTF-8")


def describe_line(line: bytes) -> str:
    """Says what the first line of a file is that is no JSON object."""
    text = line.decode("utf-8", "replace").strip()
    if text.startswith("["):
        return "the file is a JSON array: write one object per line (jq -c '.[]')"
    if text in ("{", "}"):
        return "the file is JSON over several lines: write one object per line (jq -c .)"
    if text.startswith(("{'", '{"')) and ("': " in text or "None" in text or "True" in text) and not _is_json(text):
        return "its lines are Python's, not JSON: write them with json.dumps"
    if text.startswith("<"):
        return "the file is a page of HTML or XML: the download failed, or needs a login"
    if "\t" in text or text.count(",") > 1:
        return f"the file is a table, not JSON; it begins with {text[:60]!r}"
    return f"its first line is no JSON object: {text[:60]!r}"


def _packed(head: bytes) -> str | None:
    for magic, found in _KINDS:
        if head.startswith(magic):
            return found
    if head[_TAR_MAGIC] == b"ustar":
        return "a tar archive"
    # Text has no zero bytes; UTF-16 without a mark has one in every second place.
    zeros = [half.count(0) > len(half) // 2 for half in (head[:64:2], head[1:64:2])]
    if len(head) >= 4 and any(zeros):
        return "UTF-16 or UTF-32: write it as UTF-8 (iconv -f UTF-16 -t UTF-8)"
    return None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
