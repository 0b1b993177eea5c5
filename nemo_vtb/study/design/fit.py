"""Training that a kill costs a few steps: what ``vtb study`` trains goes on from its last checkpoint."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from omegaconf import DictConfig

    from nemo_vtb.parts.machine.choice import Choice

RESUME = "resume"


def fit(
    cfg: "DictConfig", callbacks: "Sequence[Callback]", folder: Path, every: int
) -> "tuple[Trainer, Any, dict[str, Choice]]":
    """Trains, from the checkpoint in ``folder/resume`` where there is one.

    Args:
        cfg: A training config.
        callbacks: Beside those of the config; their state travels with the checkpoint.
        folder: Of the run.
        every: Steps between two checkpoints.

    Returns:
        The trainer, the model, and what the machine chose.
    """
    from nemo_vtb.callbacks.last_checkpoint import LAST, LastCheckpoint
    from nemo_vtb.training import build, check_config, use_machine

    # Lightning takes no callback that saves where checkpoints are switched off.
    cfg.trainer.enable_checkpointing = True
    check_config(cfg)
    chosen = use_machine(cfg)
    last = folder / RESUME / LAST
    keep = LastCheckpoint(every_n_train_steps=every, dirpath=str(last.parent))
    trainer, model, datamodule = build(cfg, [*callbacks, keep], chosen)
    trainer.fit(model, datamodule, ckpt_path=str(last) if last.exists() else None)
    return trainer, model, chosen


def forget(folder: Path) -> None:
    """Removes what a run would go on from: it is finished, or its settings are others now."""
    shutil.rmtree(folder / RESUME, ignore_errors=True)
