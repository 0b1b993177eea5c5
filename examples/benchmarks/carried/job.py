"""The joint step and answering on one device, beside stock SALM's, one JSON.

python examples/benchmarks/carried/job.py --device cuda --json FILE

What ``pack.py`` packs, also without packing. A part that fails leaves its error in the JSON, and the others run.
Random weights, noise and random ids: nothing is fetched.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BENCHMARKS = Path(__file__).parents[1]
sys.path[:0] = [str(_BENCHMARKS), str(_BENCHMARKS / "carried")]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where the measurements go")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes of a test, which measure nothing")
    parser.add_argument("--seconds", type=float, default=450, help="nothing new is begun when most of them are over")
    args = parser.parse_args(argv)
    shape = "tiny" if args.tiny else "gemma2b"
    found = measure(shape, args.device, time.monotonic() + args.seconds, lambda now: _write(args.json, now))
    failed = {part: one["error"] for part, one in found.items() if isinstance(one, dict) and "error" in one}
    print(json.dumps(found if args.tiny else _short(found), indent=2))
    for part, error in failed.items():
        print(f"error: {part}: {error.splitlines()[-1]}", file=sys.stderr)
    return 1 if failed else 0


def measure(shape: str, device: str, until: float, kept: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Runs both; ``kept`` is called with what there is after each part."""
    import answers
    import deferred_nemo  # noqa: F401 - before NeMo
    import step_job
    import step_vs_salm

    apart = step_vs_salm.apart
    began = time.monotonic()
    found: dict[str, Any] = {"shape": shape, "device": device}
    found["matrix_rate"] = apart(step_job.matrix_rate, device)

    def step() -> dict[str, Any]:
        count = step_vs_salm._COUNT[shape]
        measured = step_vs_salm.measure(
            shape, device, count, 0, until, lambda arms: kept(found | {"step": {"unfinished": arms}})
        )
        for arm in step_vs_salm.ARMS:
            rate = measured[arm]["achieved_tflops"] * 1e12 / found["matrix_rate"]["flops"]
            measured[arm]["of_matrix_rate"] = measured[arm]["mfu"] if device == "cpu" else rate
        return measured

    parts = {"answers": lambda: apart(answers.measure, shape, device), "step": step}
    for part, run in parts.items():
        try:
            found[part] = run()
        except Exception:
            found[part] = {"error": traceback.format_exc()}
        found["seconds"] = round(time.monotonic() - began, 1)
        kept(found)
    return found


def _write(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=2) + "\n")


def _short(found: dict[str, Any]) -> dict[str, Any]:
    step, said = found["step"], found["answers"]
    arms = {name: one.get("of_matrix_rate") for name, one in step.items() if isinstance(one, dict)}
    return {
        "of_matrix_rate": {name: share for name, share in arms.items() if share is not None},
        "ratio": step.get("ratio"),
        "tokens_a_second": said.get("tokens_a_second"),
        "seconds": found["seconds"],
    }


if __name__ == "__main__":
    sys.exit(main())
