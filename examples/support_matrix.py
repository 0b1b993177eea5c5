"""Tries families of LLMs, tiny and with random weights, and writes what was found: JSON, and the table of the guide.

python examples/support_matrix.py --json runs/support.json --markdown runs/support.md
python examples/support_matrix.py --sample        # one family of each kind, in seconds
python examples/support_matrix.py --only qwen3,lfm2
"""

import argparse
import json
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
_PACKED = {"rows": "packed", "segments": "packed, by segment", "apart": "one conversation a row"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 if a family is wrong, neither proved nor refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", action="store_true", help="one family of each kind")
    parser.add_argument("--only", default="", help="families, by commas")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    asked = parser.parse_args(arguments)
    rows = tried(asked.sample, [name for name in asked.only.split(",") if name])
    report = {"llms": rows, "versions": _versions(), **_counts(rows)}
    for path, text in ((asked.json, json.dumps(report, indent=1) + "\n"), (asked.markdown, table(rows))):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    print(", ".join(f"{count} {outcome}" for outcome, count in _counts(rows).items()))
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


def _counts(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    return {name: sum(row["outcome"] == name for row in rows) for name in ("proved", "refused", "wrong")}


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "peft", "nemo_toolkit")}


if __name__ == "__main__":
    raise SystemExit(main())
