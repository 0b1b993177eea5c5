"""What a file is that should be lines of JSON, told from its first bytes: for messages that name the remedy."""

import ast
import gzip
import json
import re
import zlib
from pathlib import Path

from nemo_vtb.data.sources.copies import needs_copy
from nemo_vtb.data.sources.disk import is_gzip
from nemo_vtb.errors import VTBError

_HEAD = 4096
_RECORDING = "a recording: name the file of rows that says what is heard in it"
_KINDS = (
    *((magic, _RECORDING) for magic in (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM", b"\x1aE\xdf\xa3")),
    *((magic, _RECORDING) for magic in (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2", b"caff", b"#!AMR", b"NIST_1A")),
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
# Within a line that is JSON throughout, a CR between objects can only be meant as the end of a line.
_CR_ENDS = re.compile(r"\}\s*\r\s*\{")
_TAR_MAGIC, _MP4_MAGIC = slice(257, 262), slice(4, 8)


def check_lines(path: Path) -> None:
    """Refuses a file that cannot be lines of text, whatever its rows are.

    Raises:
        VTBError: Names what it is, and what to do.
    """
    if needs_copy(path):
        return
    packed = path.suffix == ".gz"
    if packed and path.stat().st_size and not is_gzip(path):
        raise VTBError(f"{path} is no gzip file in spite of its name: take .gz off its name, or download it again")
    try:
        with gzip.open(path, "rb") if packed else open(path, "rb") as file:
            head = file.read(_HEAD)
    except (EOFError, zlib.error, gzip.BadGzipFile):  # cut short: whoever reads on says so
        return
    if found := _packed(head):
        inside = ", unpacked," if packed else ""
        raise VTBError(f"{path} is{inside} {found}; rows are read from lines of JSON in UTF-8")


def describe_line(line: bytes) -> str | None:
    """Says what a file is whose first line is no JSON object; None where it is one, broken: the parser says how."""
    text = line.decode("utf-8", "replace").strip()
    if text.startswith("["):
        return "the file is a JSON array: write one object per line (jq -c '.[]'), or name it .json"
    if text in ("{", "}"):
        return "the file is JSON over several lines: write one object per line (jq -c .)"
    if _is_python(line):
        return "its lines are Python's, not JSON: write them with json.dumps"
    if _CR_ENDS.search(text):
        return "its lines end in CR alone: write line feeds (tr '\\r' '\\n' < FILE)"
    if text.startswith("{"):
        return None
    if text.startswith("<"):
        return "the file is a page of HTML or XML: the download failed, or needs a login"
    if "\t" in text or text.count(",") > 1:
        sep = "\\t" if "\t" in text else ","
        return (
            f"the file is a table, not JSON; it begins with {text[:60]!r}; write an object per line "
            f"(pandas.read_csv(FILE, sep='{sep}').to_json('rows.jsonl', orient='records', lines=True))"
        )
    return f"its first line is no JSON object: {text[:60]!r}; write one per line"


def _packed(head: bytes) -> str | None:
    for magic, found in _KINDS:
        if head.startswith(magic):
            return found
    if head[_MP4_MAGIC] == b"ftyp":
        return _RECORDING
    if head[_TAR_MAGIC] == b"ustar":
        return "a tar archive: unpack it and name its file of rows, or name it .tar where it is a WebDataset"
    # Text has no zero bytes; UTF-16 without a mark has one in every second place.
    zeros = [half.count(0) > len(half) // 2 for half in (head[:64:2], head[1:64:2])]
    if len(head) >= 4 and any(zeros):
        return "UTF-16 or UTF-32: write it as UTF-8 (iconv -f UTF-16 -t UTF-8)"
    return None


def _is_python(line: bytes) -> bool:
    """Whether a line is the ``repr`` of a dictionary; control characters, tabs say, make no Python of JSON."""
    try:
        text = line.decode("utf-8").strip()
        json.loads(text, strict=False)
    except (json.JSONDecodeError, RecursionError):
        pass
    except ValueError:
        return False
    else:
        return False
    try:
        return isinstance(ast.literal_eval(text), dict)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text.startswith("{'")
