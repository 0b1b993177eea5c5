"""What choosing the next conversations costs each data-loading worker, by the number of data-parallel ranks.

python examples/benchmarks/walk.py --json examples/benchmarks/results/walk.json

Every worker walks the batches of all ranks, so the cost grows with them: CPU seconds of one step, the batch of one rank
beside the rows of all ranks, over five kinds in seven sources of a million conversations in all.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np

from nemo_vtb.data.blend.walk import Blend

_SOURCES = {
    "text": ((200_000, 400), (50_000, 300)),
    "asr": ((500_000, 120), (100_000, 150)),
    "ast": ((100_000, 130),),
    "sqa": ((100_000, 180),),
    "mixed": ((100_000, 350),),
}
_SHARES = {"text": 0.15, "asr": 0.25, "ast": 0.15, "sqa": 0.2, "mixed": 0.25}


class Lengths:
    """A source of which only the lengths exist: log-normal around a mean."""

    def __init__(self, rows: int, mean: int, seed: int) -> None:
        self.name = self.fingerprint = f"{rows} rows of about {mean}"
        self.weight = float(rows)
        total = np.random.default_rng(seed).lognormal(np.log(mean), 0.5, rows).clip(8, 2000).astype(int)
        self._sizes = np.stack([total, np.maximum(1, total // 4), total * 0.04], axis=1)

    def __len__(self) -> int:
        return len(self._sizes)

    def draw(self, index: int, epoch: int) -> int:
        return index

    def sizes(self, indices: np.ndarray, epoch: int) -> np.ndarray:
        return self._sizes[indices]


def blend(strategy: str) -> Blend:
    sources = {
        kind: [Lengths(rows, mean, seed) for seed, (rows, mean) in enumerate(lengths)]
        for kind, lengths in _SOURCES.items()
    }
    return Blend(sources, _SHARES, strategy=strategy)


def milliseconds(strategy: str, ranks: int, own: bool, budget: int, steps: int) -> float:
    """CPU milliseconds of a step, compilation left out."""
    walk = blend(strategy)
    state = walk.start()
    walk.own_batch(state, budget, ranks, 0)
    began = time.process_time()
    for _ in range(steps):
        if own:
            walk.own_batch(state, budget, ranks, 0)
        else:
            walk.step(state, budget, ranks)
    return 1000 * (time.process_time() - began) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True)
    parser.add_argument("--budget", type=int, default=8192, help="LLM positions per rank and step")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    report: dict[str, object] = {}
    for strategy in ("stratified", "mixed"):
        for ranks in (8, 64, 1024):
            steps = max(2, 2048 // ranks if strategy == "stratified" else 128 // ranks)
            found = {
                name: statistics.median(
                    milliseconds(strategy, ranks, own, args.budget, steps) for _ in range(args.repeats)
                )
                for name, own in (("own_batch", True), ("all_batches", False))
            }
            report[f"{strategy}, {ranks} ranks"] = {f"{name}_cpu_ms": round(value, 2) for name, value in found.items()}
            print(f"{strategy:10s} {ranks:5d} ranks: {found['own_batch']:7.2f} ms of CPU a step", flush=True)
    report["environment"] = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "load_average": os.getloadavg()[0],
        "budget": args.budget,
    }
    Path(args.json).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
