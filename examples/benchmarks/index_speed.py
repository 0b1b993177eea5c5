"""CPU seconds of a first index beside those of another version of the project, in one run.

git worktree add /tmp/before a83a58e
python examples/benchmarks/index_speed.py --before /tmp/before --json examples/benchmarks/results/index_speed.json

Half of the rows are chats, half recognition rows, made of the shipped corpora, the words of each row in another order:
texts that come again are not what makes it fast. The versions take turns, each in a process of its own on one core, and
their indices must be the same bytes.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = """
import os, sys, time
from pathlib import Path
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
sys.path.insert(0, str(Path.cwd() / "examples/benchmarks"))
import index_scale
section, dataset = index_scale.write_data(Path(sys.argv[1]), int(sys.argv[2])), index_scale._dataset()
begun = time.process_time()
index_scale._blend(section, dataset)
print("CPU", time.process_time() - begun)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="a checkout of the other version")
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args()
    from nemo_vtb.reports.environment import environment

    measured = measure(args.before.resolve(), args.rows, args.times)
    text = json.dumps(measured | {"environment": environment(f"python {' '.join(sys.argv)}", seed=0)}, indent=2) + "\n"
    if args.json is not None:
        args.json.write_text(text)
    print(text)


def measure(before: Path, rows: int, times: int) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {"before": [], "now": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        _write(folder, rows)
        for _ in range(times):
            kept = {}
            for version, root in (("before", before), ("now", _ROOT)):
                seconds[version].append(_index(root, folder, rows))
                kept[version] = _taken(folder / ".vtb_index")
            if kept["before"] != kept["now"]:
                raise SystemExit("the two versions made other indices")
    medians = {version: statistics.median(found) for version, found in seconds.items()}
    return {
        "rows": rows,
        "cpu_seconds": seconds,
        "microseconds_a_row": {version: median / rows * 1e6 for version, median in medians.items()},
        "to_before": medians["now"] / medians["before"],
        "before": subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=before, text=True).strip(),
    }


def _write(folder: Path, rows: int) -> None:
    import index_scale

    index_scale.write_data(folder, rows)
    mixed = random.Random(0)
    for kind in ("asr", "text"):
        path = folder / f"{kind}.jsonl"
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        for row in lines:
            for turn, field in [(turn, "value") for turn in row.get("conversations", ())] or [(row, "text")]:
                words = turn[field].split(" ")
                mixed.shuffle(words)
                turn[field] = " ".join(words)
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines), encoding="utf-8")


def _index(root: Path, folder: Path, rows: int) -> float:
    paths = os.pathsep.join([str(root), str(root / "nemo_vtb/hydra_plugin")])
    said = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder), str(rows)],
        cwd=root, env={**os.environ, "PYTHONPATH": paths}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return float(said.stdout.rpartition("CPU")[2])


def _taken(place: Path) -> list[bytes]:
    """The indices of a folder, which are taken away."""
    made = sorted(path for path in place.iterdir() if path.suffix != ".lock")
    kept = [path.read_bytes() for path in sorted(made, key=lambda path: path.name.partition(".")[0])]
    for path in place.iterdir():
        path.unlink()
    return kept


if __name__ == "__main__":
    main()
