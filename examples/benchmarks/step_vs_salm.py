"""The joint step beside stock SALM's: the same conversations, weights and LoRA in one run.

python examples/benchmarks/step_vs_salm.py --json examples/benchmarks/results/step_vs_salm_cpu.json
python examples/benchmarks/step_vs_salm.py --device cuda --json examples/benchmarks/results/step_vs_salm_cuda.json

On a CPU: SmolLM2-135M-Instruct, Whisper base (frozen) and LoRA r32 on the shipped corpora. On a GPU: the shape of Gemma
2B with a FastConformer of 0.6B and LoRA r32, random weights, random ids and noise; nothing is fetched.

Arms, each in a process of its own:

* ``salm_static``: stock SALM, a fixed number of conversations a batch, in the order they come.
* ``salm_bucketed``: stock SALM, conversations sorted by length under a budget of padded positions, which is what ever
  finer buckets come to; as many batches, or twice as many, whichever is faster.
* ``ours``: exactly the batches of ``salm_static``.

All in the precision that ``auto`` chooses. Stock SALM crashes on a batch without audio; its batches, and so ours, hold
a clip each. Its frozen LLM is float32, for which it has no setting; where that precision is bf16-mixed ours is
bfloat16. Both hold the same numbers, and autocast computes both in bfloat16.
"""

import argparse
import json
import math
import multiprocessing
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

ARMS = ("ours", "salm_static", "salm_bucketed")
_OURS = {
    # As conf/model/smollm2_whisper.yaml.
    "smollm2": {"llm_dtype": "auto", "row_tokens": 256, "attn_implementation": "auto"},
    "gemma2b": {"llm_dtype": "auto", "row_tokens": 4096},
    "tiny": {"llm_dtype": "auto", "row_tokens": 256},
}
_COUNT = {"smollm2": 48, "gemma2b": 512, "tiny": 24}
_PER_BATCH = {"smollm2": 8, "gemma2b": 32, "tiny": 6}
# Of the random lengths; tiny ones run in a second.
_SCALE = {"smollm2": 1.0, "gemma2b": 1.0, "tiny": 0.05}
# What nothing optional is begun in.
_LAST_SECONDS = 90
_MOST_CONVERSATIONS = {"gemma2b": 2048, "tiny": 4}


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where the measurements go")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--shape", choices=tuple(_OURS), help="default: smollm2 on a CPU, gemma2b on a GPU")
    parser.add_argument("--conversations", type=int, help="how many are drawn")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    shape = args.shape or ("smollm2" if args.device == "cpu" else "gemma2b")
    measured = measure(shape, args.device, args.conversations or _COUNT[shape], args.seed)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(measured, indent=2) + "\n")
    from tables import table

    print(table("step_vs_salm_cpu", step_vs_salm_cpu=measured))
    return measured


def measure(
    shape: str,
    device: str,
    count: int,
    seed: int,
    until: float = math.inf,
    kept: Callable[[dict[str, Any]], None] = lambda found: None,
) -> dict[str, Any]:
    """Runs all arms; keys as in the module's JSON.

    Args:
        shape: Of the models.
        device: Where.
        count: Conversations.
        seed: Of weights and conversations.
        until: By ``time.monotonic``: in the last minute and a half before it neither the profile nor a largest batch
            is begun.
        kept: Called with what there is after each arm.
    """
    import step_job

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        about = apart(step_job.prepare, shape, folder, _OURS[shape], count, seed, _SCALE[shape])
        plans = apart(step_job.plans, folder, _PER_BATCH[shape])
        workers = 4 if device == "cuda" else 0
        found: dict[str, Any] = {}
        for arm in ARMS:
            tried = [summary(apart(step_job.run_arm, arm, folder, plan, device, workers)) for plan in plans[arm]]
            found[arm] = max(tried, key=lambda one: one["supervised_tokens_per_s"])
            if len(tried) > 1:
                keys = ("steps", "padding_share", "supervised_tokens_per_s", "peak_memory_mb")
                found[arm] |= {"tried": [{key: one[key] for key in keys} for one in tried]}
            kept(found)
        if time.monotonic() < until - _LAST_SECONDS:
            found["ours"]["profile"] = apart(step_job.profile, folder, plans["ours"][0][0], device)
        for arm in ARMS if shape in _MOST_CONVERSATIONS else ():
            if time.monotonic() < until - _LAST_SECONDS:
                sort, most = arm == "salm_bucketed", _MOST_CONVERSATIONS[shape]
                found[arm]["largest_batch"] = apart(step_job.largest_batch, arm, folder, sort, device, most)
        machine, peak = apart(step_job.about_machine, shlex.join(["python", *sys.argv]), seed)
    for arm in ARMS:
        found[arm] |= utilisation(found[arm], about["useful_flops"], peak, device)
    setting = {"shape": shape, "device": device, "per_batch": _PER_BATCH[shape], "ours": _OURS[shape]}
    setting |= {**about, "peak_flops": peak}
    return found | {"ratio": ratios(found), "setting": setting, "environment": machine}


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """Sums an arm's steps."""
    total = {key: sum(row[key] for row in result["rows"]) for key in result["rows"][0] if key != "loss"}
    elapsed = total["seconds"] + total["wait"]
    return {
        "supervised_tokens_per_s": total["supervised"] / elapsed,
        "positions_per_s": total["positions"] / elapsed,
        "supervised_tokens_per_cpu_s": total["supervised"] / total["cpu_seconds"],
        "peak_memory_mb": result["peak_memory_mb"],
        "peak_above_model_mb": result["peak_above_model_mb"],
        "padding_share": 1 - total["positions"] / total["laid_out"],
        "data_wait_share": total["wait"] / elapsed,
        "loss": sum(row["loss"] * row["supervised"] for row in result["rows"]) / total["supervised"],
        "seconds": elapsed,
        "cpu_seconds": total["cpu_seconds"],
        "steps": len(result["rows"]),
        "supervised_tokens": total["supervised"],
        "positions": total["positions"],
        "step_seconds": [round(row["seconds"], 3) for row in result["rows"]],
    }


def utilisation(arm: dict[str, Any], useful: float, peak: float | None, device: str) -> dict[str, float | None]:
    """Useful FLOP/s of an arm, and their share of the peak; a processor's is one core's, and so are its seconds."""
    busy = arm["cpu_seconds" if device == "cpu" else "seconds"]
    return {"achieved_tflops": useful / arm["seconds"] / 1e12, "mfu": useful / busy / peak if peak else None}


def ratios(found: dict[str, Any]) -> dict[str, float]:
    """Ours over each, in supervised tokens a second; memory is ours over the static arm."""
    speed = {arm: found[arm]["supervised_tokens_per_s"] for arm in ARMS}
    return {
        "static": speed["ours"] / speed["salm_static"],
        "bucketed": speed["ours"] / speed["salm_bucketed"],
        "memory": found["ours"]["peak_memory_mb"] / found["salm_static"]["peak_memory_mb"],
        "memory_above_model": found["ours"]["peak_above_model_mb"] / found["salm_static"]["peak_above_model_mb"],
    }


def apart(function: Any, *arguments: Any) -> Any:
    """Runs a function in a fresh process forked from one that has imported what is used of NeMo and no more."""
    context = multiprocessing.get_context("forkserver")
    # The server finds what it imports beforehand by PYTHONPATH alone, and leaves out in silence what it does not find.
    folder, known = str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")
    if folder not in known.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, known)))
    context.set_forkserver_preload(["deferred_nemo", "step_job"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


if __name__ == "__main__":
    main()
