"""A whole `vtb eval shipped` beside one of an earlier version of the project: processor seconds, and the answers.

git worktree add /tmp/before e8005b4
python examples/benchmarks/eval_whole.py --against /tmp/before --json examples/benchmarks/results/eval_whole.json

Each version runs as it is shipped, in a process of its own and one thread. The models must have been fetched.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from start import commit_of, environment_of

_ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="a checkout of the other version")
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    args = parser.parse_args()
    from nemo_vtb.reports.environment import environment

    versions = {"before": args.against.resolve(), "now": _ROOT}
    runs = {name: evaluated(root) for name, root in versions.items()}
    answers = {name: run.pop("answers") for name, run in runs.items()}
    asked = answers["before"].keys() & answers["now"].keys()
    same = sum(answers["before"][key] == answers["now"][key] for key in asked)
    made = {
        **runs,
        "to_before": runs["now"]["cpu_s"] / runs["before"]["cpu_s"],
        "answers": {"asked_of_both": len(asked), "same": same},
        "commits": {name: commit_of(root) for name, root in versions.items()},
        "environment": environment(f"python {' '.join(sys.argv)}", seed=0),
    }
    text = json.dumps(made, indent=2) + "\n"
    if args.json is not None:
        args.json.write_text(text, encoding="utf-8")
    print(text)


def evaluated(root: Path) -> dict[str, Any]:
    """Seconds, and every answer by what was asked and of whom."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "nemo_vtb.cli", "eval", "shipped", "threads=1", f"out={folder}"],
            cwd=root,
            env=environment_of(root),
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = (Path(folder) / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_s": round(cpu, 1), "rows": len(rows), "answers": dict(map(_told, rows))}


def _told(row: dict[str, Any]) -> tuple[Any, Any]:
    return tuple(row[key] for key in ("set", "form", "id")), tuple(row[key] for key in ("tuned", "base"))


if __name__ == "__main__":
    main()
