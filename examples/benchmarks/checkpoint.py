"""Size and times of a checkpoint: ours, of what was trained, beside one with everything, as stock SALM's are.

python examples/benchmarks/checkpoint.py --json examples/benchmarks/results/checkpoint.json
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from omegaconf import OmegaConf

from nemo_vtb import VoiceTextBlender
from nemo_vtb.config import compose
from nemo_vtb.models.checkpoints.contents import kept_state
from nemo_vtb.models.checkpoints.file import AtomicCheckpointIO


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True)
    parser.add_argument("--config-name", default="quickstart", help="whose model section is built")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    cfg = OmegaConf.to_container(compose(args.config_name, []).model, resolve=True)
    model = VoiceTextBlender(cfg)
    optimizer = stepped_optimizer(model)
    whole = model.state_dict()
    arms = {"full": (TorchCheckpointIO(), whole), "slim": (AtomicCheckpointIO(), kept_state(model, whole))}
    report: dict[str, Any] = {"model": {key: cfg[key] for key in ("pretrained_llm", "pretrained_asr", "lora")}}
    report["parameters"] = {
        "all": sum(p.numel() for p in model.parameters()),
        "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name, (io, state) in arms.items():
            checkpoint = {"state_dict": state, "optimizer_states": [optimizer], "hyper_parameters": {"cfg": cfg}}
            checkpoint["global_step"] = 1
            path = Path(folder) / f"{name}.last.ckpt"
            report[name] = measure(io, checkpoint, path, model, args.repeats)
    report["ratio"] = {key: report["full"][key] / report["slim"][key] for key in report["slim"]}
    report["environment"] = {
        "cpu": next(
            (row.partition(": ")[2] for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row),
            "",
        ),
        "load_average": os.getloadavg()[0],
        "torch": torch.__version__,
        "repeats": args.repeats,
        "command": f"python examples/benchmarks/checkpoint.py --json {args.json} --config-name {args.config_name}",
    }
    Path(args.json).write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


def stepped_optimizer(model: VoiceTextBlender) -> dict[str, Any]:
    """The state of AdamW after a step on random gradients."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained)
    for parameter in trained:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer.state_dict()


def measure(io: Any, checkpoint: dict[str, Any], path: Path, model: VoiceTextBlender, repeats: int) -> dict[str, float]:
    """Megabytes, and medians in seconds; a save ends when the bytes are on the disk, a load in the model."""

    def save() -> None:
        io.save_checkpoint(checkpoint, path)
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def load() -> None:
        model.load_state_dict(io.load_checkpoint(path)["state_dict"])

    return {"mb": _after(save, path), "save_s": _median(save, repeats), "load_s": _median(load, repeats)}


def _after(save: Callable[[], None], path: Path) -> float:
    save()
    return path.stat().st_size / 1e6


def _median(action: Callable[[], None], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
