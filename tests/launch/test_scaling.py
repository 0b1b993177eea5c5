"""The arithmetic of SCALING.md: its tables are those of the script, and what it says of DDP is so."""

import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback
from ranks import run_ranks
from tiny_training import train

from nemo_vtb.paths import slurm_dir

sys.path.insert(0, str(slurm_dir()))

import scaling


def test_the_page_has_the_script_s_tables():
    page = (slurm_dir() / "SCALING.md").read_text()
    assert "\n".join(scaling.tables()).strip() in page


def test_a_slower_network_never_helps():
    for gpus in scaling.GPUS:
        steps = [
            scaling.step_seconds(scaling.PAPER, scaling.Machine(network_bytes=speed), gpus, 1024)[0]
            for speed in sorted(scaling.NETWORKS.values(), reverse=True)
        ]
        assert steps == sorted(steps)


def test_the_best_interval_is_the_best():
    save, between = 8.4, 50 * 3600.0
    best = (2 * save * between) ** 0.5
    lost = scaling.lost_share(best, save, scaling.RESTART, between)
    for other in (best / 2, best * 2):
        assert scaling.lost_share(other, save, scaling.RESTART, between) > lost


class CountReduced(Callback):
    """Counts what DDP reduces in each step."""

    def __init__(self, path: Path) -> None:
        self.path, self.elements = path, 0

    def on_train_start(self, trainer: Any, model: Any) -> None:
        from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

        def hook(state, bucket):
            self.elements += bucket.buffer().numel()
            return allreduce_hook(None, bucket)

        trainer.strategy.model.register_comm_hook(None, hook)

    def on_train_end(self, trainer: Any, model: Any) -> None:
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        everything = sum(p.numel() for p in model.parameters())
        self.path.write_text(f"{self.elements} {trained} {everything}")


def test_only_trained_elements_are_reduced(run_folder: Path):
    counter = CountReduced(run_folder / "counted")
    assert run_ranks(train, run_folder, "log", steps=2, every=100, more=(counter,)) == [0, 0]
    reduced, trained, everything = map(int, counter.path.read_text().split())
    assert reduced == 2 * trained < 2 * everything / 10
