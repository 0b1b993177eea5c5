"""How long `import nemo_vtb` and `vtb --help` take in a fresh process, with and without the files in the page cache.

python examples/benchmarks/startup.py --json examples/benchmarks/results/startup.json
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "import nemo_vtb": [sys.executable, "-c", "import nemo_vtb"],
    "vtb --help": [sys.executable, "-m", "nemo_vtb.cli", "--help"],
}
FILES = (
    "import sys, nemo_vtb.cli\n"
    "print(*{m.__file__ for m in sys.modules.values() if getattr(m, '__file__', None)}, sep='\\n')"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    files = subprocess.check_output([sys.executable, "-c", FILES], text=True).split()
    report: dict[str, object] = {}
    for name, command in COMMANDS.items():
        for state in ("cold", "warm"):
            times = [seconds(command, files if state == "cold" else []) for _ in range(args.repeats)]
            report[f"{name}, {state}"] = {"median_s": statistics.median(times), "worst_s": max(times)}
    report["environment"] = {
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
        "repeats": args.repeats,
        "command": f"python examples/benchmarks/startup.py --json {args.json}",
    }
    Path(args.json).write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def seconds(command: list[str], forget: list[str]) -> float:
    """Wall-clock time of a command after the kernel was asked to drop these files from its page cache."""
    for name in forget:
        descriptor = os.open(name, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    start = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
