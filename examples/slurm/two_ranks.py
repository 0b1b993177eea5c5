"""Checks the arithmetic of scaling.py on two processes of this machine, over gloo: bytes and seconds of a step.

python examples/slurm/two_ranks.py --json examples/slurm/two_ranks.json

Six layers of the quickstart's LLM on text, with a LoRA so large that there is something to move. On CPUs the cores that
compute also move the bytes, so a step is predicted as arithmetic plus reduction, nothing hidden. Seconds are processor
time of one rank: they do not depend on what else runs on the machine, and leave out waiting.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from scaling import BUCKET, FLOAT32, ring
from torch import distributed

LLM = (
    "{model_type: llama, vocab_size: 49152, hidden_size: 576, intermediate_size: 1536, num_hidden_layers: 6, "
    "num_attention_heads: 9, num_key_value_heads: 3, tie_word_embeddings: true}"
)
OVERRIDES = [
    "model.pretrained_weights=false",
    f"+model.llm_config={LLM}",
    "model.lora.r=512",
    "model.lora.lora_alpha=512",
    "model.text_kl=null",
    "data.train_ds.batch_tokens=512",
    "data.train_ds.blend.kinds.text.share=1",
    *(f"~data.train_ds.blend.kinds.{kind}" for kind in ("asr", "ast", "sqa", "mixed")),
    "trainer.val_check_interval=null",
    "+trainer.limit_val_batches=0",
    "+trainer.strategy=ddp",
    "trainer.max_steps=5",
    "threads=1",
]
WARM_UP = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True)
    args = parser.parse_args()
    import nemo_vtb.models.voice_text_blender  # noqa: F401  the ranks fork from here, with NeMo imported once

    one, two = start(args.json, 1), start(args.json, 2)
    predicted_bytes = 2 * 2 * ring(2) * two["gradient_bytes"]
    predicted = one["rank_seconds"][0] + two["reduction_seconds"]
    measured = statistics.mean(two["rank_seconds"])
    report = {
        "trained_elements": two["gradient_bytes"] // FLOAT32,
        "bytes": {"predicted": predicted_bytes, "measured": two["bytes"], "ratio": two["bytes"] / predicted_bytes},
        "step_seconds": {"predicted": predicted, "measured": measured, "ratio": measured / predicted},
        "one_rank_seconds": one["rank_seconds"][0],
        "reduction_seconds": two["reduction_seconds"],
        "load_average": os.getloadavg()[0],
        "torch": torch.__version__,
        "overrides": OVERRIDES,
    }
    Path(args.json).write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def start(path: str, ranks: int) -> dict[str, Any]:
    """Runs the ranks and returns what they measured together."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=rank, args=(f"{path}.{number}", number, ranks)) for number in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a rank failed")
    parts = [Path(f"{path}.{number}") for number in range(ranks)]
    measured = [json.loads(part.read_text()) for part in parts]
    for part in parts:
        part.unlink()
    return {**measured[0], "rank_seconds": [part["step_seconds"] for part in measured]}


class Meter(Callback):
    """Seconds of each step, bytes on the loopback device over all of them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.bytes = 0.0

    def on_train_batch_start(self, trainer: Trainer, model: Any, batch: Any, batch_idx: int) -> None:
        if trainer.world_size > 1:
            distributed.barrier()
        if batch_idx == WARM_UP:
            self.bytes = _loopback_bytes()
        self._start = time.process_time()

    def on_train_batch_end(self, trainer: Trainer, model: Any, out: Any, batch: Any, batch_idx: int) -> None:
        self.seconds.append(time.process_time() - self._start)

    def on_train_end(self, trainer: Trainer, model: Any) -> None:
        self.bytes = (_loopback_bytes() - self.bytes) / (len(self.seconds) - WARM_UP)


def rank(path: str, number: int, ranks: int) -> None:
    """Trains as one rank and leaves what it measured in a file."""
    from nemo_vtb.config import compose
    from nemo_vtb.training import build

    own = {"RANK": number, "LOCAL_RANK": number, "GROUP_RANK": 0, "WORLD_SIZE": ranks, "TORCHELASTIC_RUN_ID": "check"}
    own |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29511 + ranks}
    os.environ.update({name: str(value) for name, value in own.items()})
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})
    meter = Meter()
    cfg = compose("quickstart", [*OVERRIDES, f"trainer.devices={ranks}"])
    trainer, model, datamodule = build(cfg, [meter])
    trainer.fit(model, datamodule)
    gradients = FLOAT32 * sum(p.numel() for p in model.parameters() if p.requires_grad)
    measured = {"step_seconds": statistics.median(meter.seconds[WARM_UP:]), "bytes": meter.bytes}
    measured |= {"gradient_bytes": gradients, "reduction_seconds": reduction_seconds(gradients) if ranks > 1 else 0.0}
    Path(path).write_text(json.dumps(measured))


def reduction_seconds(size: int) -> float:
    """An all-reduce of so many bytes in DDP's buckets, with nothing beside it."""
    buckets = [torch.ones(int(BUCKET) // FLOAT32) for _ in range(max(1, round(size / BUCKET)))]
    times = []
    for _ in range(5):
        distributed.barrier()
        begin = time.process_time()
        for bucket in buckets:
            distributed.all_reduce(bucket)
        times.append(time.process_time() - begin)
    return statistics.median(times)


def _loopback_bytes() -> float:
    line = next(row for row in Path("/proc/net/dev").read_text().splitlines() if row.strip().startswith("lo:"))
    return float(line.split()[9])


if __name__ == "__main__":
    main()
