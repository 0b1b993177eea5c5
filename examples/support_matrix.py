"""Tries families of LLMs, tiny and with random weights, and writes what was found: JSON, and the table of the guide.

python examples/support_matrix.py --json runs/llms.json
python examples/support_matrix.py --sample        # one family of each kind, in seconds
python examples/support_matrix.py --only qwen3,lfm2

``--markdown tutorials/llms.md`` replaces the table there.
"""

import argparse
import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).parent))

from support.guide import counts, replace_table, write_json

MARK = "<!-- support matrix: examples/support_matrix.py -->"
_PACKED = {"rows": "packed", "segments": "packed, by segment", "apart": "one conversation a row"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 if a family is wrong, neither proved nor refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", action="store_true", help="one family of each kind")
    parser.add_argument("--only", default="", help="families, by commas")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="a file in which the table is replaced")
    asked = parser.parse_args(arguments)
    rows = tried(asked.sample, [name for name in asked.only.split(",") if name])
    if asked.json:
        write_json(asked.json, {"llms": rows, **counts(rows)})
    if asked.markdown:
        replace_table(asked.markdown, MARK, table(rows))
    print(", ".join(f"{count} {outcome}" for outcome, count in counts(rows).items()))
    return 1 if any(row["outcome"] == "wrong" for row in rows) else 0


def tried(sample: bool, only: Sequence[str]) -> list[dict[str, Any]]:
    """Tries families one after another and prints a line for each."""
    import torch

    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    from support.families import LLMS, SAMPLE
    from support.llms import try_family
    from support.tiny import whisper_folder
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.CRITICAL)
    names = only or (SAMPLE if sample else list(LLMS))
    rows = []
    with tempfile.TemporaryDirectory(prefix="support_") as folder:
        encoder = whisper_folder(Path(folder) / "encoder")
        for name in names:
            row = try_family(name, LLMS[name], encoder, Path(folder))
            rows.append(row)
            said = row.get("why") or f"{row['class']}, {_PACKED[row['packing']]}"
            print(f"{name}: {row['outcome']}: {said} ({row['seconds']} s)", flush=True)
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The Markdown table of the guide."""
    lines = ["| family | known as | rows | logits | LoRA adapts |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        if row["outcome"] == "proved":
            head = "head, factor, cap" if row["head"] == "config" else "its own forward pass"
            cells = [_PACKED[row["packing"]], head, ", ".join(row["adapted"])]
        else:
            cells = [f"{row['outcome']}: {_short(row['why'])}", "", ""]
        lines.append(f"| {' | '.join([row['family'], row['known_as'], *cells])} |")
    return "\n".join(lines) + "\n"


def _short(why: str) -> str:
    return why.split("; this was tried out")[0].rpartition("cannot be trained here: ")[2]


if __name__ == "__main__":
    raise SystemExit(main())
