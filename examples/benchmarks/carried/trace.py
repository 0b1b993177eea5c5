"""Runs the job at its smallest in one process, and writes which files that opened or mapped.

python -S examples/benchmarks/carried/trace.py FILE
"""

import json
import sys
from pathlib import Path
from typing import Any

_opened: set[str] = set()


def main() -> None:
    sys.addaudithook(_see)
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    import deferred_nemo  # noqa: F401 - before NeMo
    import job
    import step_vs_salm

    step_vs_salm.apart = lambda function, *given: function(*given)
    found: dict[str, Any] = job.measure("tiny", "cpu", float("inf"), lambda _: None)
    failed = [part["error"] for part in found.values() if isinstance(part, dict) and "error" in part]
    lines = Path("/proc/self/maps").read_text().splitlines()
    mapped = {line.split(maxsplit=5)[5] for line in lines if "/" in line}
    Path(sys.argv[1]).write_text(json.dumps({"errors": failed, "opened": sorted(_opened), "mapped": sorted(mapped)}))


def _see(event: str, given: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(given[0], str) and given[0].startswith("/"):
        _opened.add(given[0])


if __name__ == "__main__":
    main()
