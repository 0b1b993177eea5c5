"""Weights on a run's way to its end, and what they are asked."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


def marks(section: Mapping[str, Any] | None) -> list[int]:
    """Percent of the way at which a run is measured, from the section ``measure.way``."""
    return sorted({round(100 * share) for share in (section or {}).get("at", [])})


def asked_on_the_way(measure: Mapping[str, Any]) -> dict[str, Any]:
    """The section ``measure`` with only the sets and suites that ``way.ask`` names."""
    wanted = measure["way"]["ask"]
    eval_section = dict(measure["eval"])
    for key in ("sets", "text"):
        eval_section[key] = {name: entry for name, entry in (eval_section.get(key) or {}).items() if name in wanted}
    return {**measure, "eval": eval_section}


def answers_file(folder: Path, percent: int) -> Path:
    """Where a run's answers at a mark stand."""
    return folder / f"answers_{percent}.jsonl"


def weights_file(folder: Path, percent: int) -> Path:
    """Where its weights at that mark stand until they are measured."""
    return folder / f"way_{percent}.ckpt"


class OnTheWay(Callback):
    """Keeps trained weights at marks of a run, and counts its CPU seconds over all of its resumes.

    Args:
        folder: Of the run.
        percents: Of the run's steps.

    Attributes:
        cpu_seconds: Of this process and of those before it, up to their last checkpoint.
    """

    def __init__(self, folder: Path, percents: Sequence[int]) -> None:
        self._folder, self._percents = folder, percents
        self._before = 0.0
        self._began = time.process_time()

    @property
    def cpu_seconds(self) -> float:
        """See the class."""
        return self._before + time.process_time() - self._began

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves at a mark; a run that resumes just before one saves it again."""
        for percent in self._percents:
            if trainer.global_step == max(1, round(trainer.max_steps * percent / 100)):
                trainer.save_checkpoint(weights_file(self._folder, percent), weights_only=True)

    def state_dict(self) -> dict[str, Any]:
        """Travels with the checkpoint."""
        return {"cpu_seconds": self.cpu_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on counting after a resume."""
        self._before, self._began = state_dict["cpu_seconds"], time.process_time()
