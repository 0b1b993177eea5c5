"""Mixing five kinds of conversations: nemo_vtb against NeMo's own mux, zip and randomized_round_robin.

    python examples/benchmarks/blend.py --json examples/benchmarks/results/blend.json
    python examples/benchmarks/blend.py --table examples/benchmarks/results/blend.json

The same conversations, tokenizer, prompt format, seed and budget for everybody, a process and a core each, no workers.
What is drawn is counted over ``--steps`` steps of ``--ranks`` ranks, and no audio is read. Speed, in processor time,
and memory are those of one rank that loads it: all take turns for ``--rounds``, and the median of each counts.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from apart import apart
from tables import table

_UNITS = ("supervised_tokens", "total_tokens", "examples")
# NeMo's samplers fill their buffers when they are first drawn from, each at its own time.
_WARM_UP = 40
_TALKING = ("text", "asr", "ast", "sqa", "mixed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    parser.add_argument("--table", type=Path, help="print the table of a file written before, and measure nothing")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--conversations", type=int, default=2000, help="loaded with audio to measure speed")
    args = parser.parse_args()
    if args.table is None:
        measured = measure(args)
        if args.json is not None:
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.write_text(json.dumps(measured, indent=2) + "\n")
    else:
        measured = json.loads(args.table.read_text())
    print(*(table(name, blend=measured) for name in ("blend", "blend_units")), sep="\n")


def measure(args: argparse.Namespace) -> dict[str, Any]:
    from blend_corpus import SHARES, write_corpus
    from blend_systems import FUSIONS, our_batches, stock_batches

    from nemo_vtb.reports.environment import environment

    with tempfile.TemporaryDirectory() as folder:
        corpus = write_corpus(Path(folder))
        results = {"ours": _apart(_our_draws, corpus, args)}
        for fusion in FUSIONS:
            results[fusion] = _apart(_stock_draws, corpus, args, fusion)
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in results}
        for _ in range(args.rounds):
            for name, measured in rounds.items():
                make = (our_batches, corpus) if name == "ours" else (stock_batches, corpus, name)
                measured.append(_apart(_speed, args.conversations, *make, args.batch_tokens))
        for name, measured in rounds.items():
            results[name] |= {key: median(found[key] for found in measured) for key in measured[0]}
            results[name]["conversations_per_s_rounds"] = [found["conversations_per_s"] for found in measured]
    return {
        "ours": results.pop("ours"),
        "stock": results,
        "asked_share": SHARES,
        "unit": "supervised_tokens",
        "steps": args.steps,
        "ranks": args.ranks,
        "rounds": args.rounds,
        "batch_tokens": args.batch_tokens,
        "corpus": {kind: corpus.rows(kind) for kind in SHARES},
        "environment": environment(f"python {' '.join(sys.argv)}", seed=0),
    }


def _our_draws(corpus: Any, args: argparse.Namespace) -> dict[str, Any]:
    from blend_metrics import drawn, share_error_points
    from blend_systems import our_blend, our_names

    modes = [
        {"unit": unit, "strategy": strategy} for strategy in ("stratified", "mixed", "alternate") for unit in _UNITS
    ]
    modes.append({"unit": "steps", "strategy": "alternate", "together": [kind for kind in _TALKING if kind != "text"]})
    found: dict[str, Any] = {}
    for mode in modes:
        blend = our_blend(corpus, args.batch_tokens, **mode)
        begun = time.perf_counter()
        steps = our_names(blend, args.batch_tokens, args.ranks, args.steps)
        seconds = time.perf_counter() - begun
        counted = drawn(steps, corpus, packed=True)
        found.setdefault(mode["strategy"], {})[mode["unit"]] = {
            "share_error_points": share_error_points(steps, corpus, mode["unit"]),
            **{
                key: counted[key]
                for key in ("padding_share", "rank_imbalance", "rank_imbalance_per_step", "repeated", "lost")
            },
            "drawn_per_s": counted["conversations"] / seconds,
        }
        if mode == modes[0]:
            first = counted
    return {**first, "modes": found}


def _stock_draws(corpus: Any, args: argparse.Namespace, fusion: str) -> dict[str, Any]:
    from blend_metrics import drawn
    from blend_systems import stock_names

    return drawn(stock_names(corpus, fusion, args.batch_tokens, args.ranks, args.steps), corpus, packed=False)


def _speed(conversations: int, batches: Callable[..., Iterator[Any]], *which: Any) -> dict[str, float]:
    """In seconds of processor time: this process alone is at work, and other programs may share its core."""
    begun = time.process_time()
    iterator = batches(*which)
    next(iterator)
    first = time.process_time()
    for _ in range(_WARM_UP):
        next(iterator)
    started = time.process_time()
    seen = samples = 0
    while seen < conversations:
        batch = next(iterator)
        seen += len(batch["input_ids"])
        samples += int(batch["audio_lens"].sum())
    seconds = time.process_time() - started
    return {
        "conversations_per_s": seen / seconds,
        "audio_seconds_per_s": samples / 16_000 / seconds,
        "seconds_to_first_batch": first - begun,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    begun = time.perf_counter()
    found = apart(function, *arguments)
    named = [argument for argument in arguments if isinstance(argument, str)] or ["nemo_vtb"]
    print(f"{function.__name__.strip('_')} {' '.join(named)}: {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    return found


if __name__ == "__main__":
    main()
