"""Going on with the random numbers a run stopped at, on every rank."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from nemo.utils import logging

from nemo_vtb.models.checkpoints.random_state import RandomState, set_random_state
from nemo_vtb.parts.ranks import data_rank, world_size


class RestoreRandomStates(Callback):
    """Sets each rank's saved random state before its first resumed step: building model and loaders moved it."""

    def __init__(self) -> None:
        self._saved: list[RandomState] | None = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes the states out of a checkpoint, where they are as many as there are ranks now."""
        saved = checkpoint.get("vtb", {}).get("random_states")
        if saved is not None and len(saved) != world_size():
            logging.warning(
                f"nemo_vtb: the checkpoint has random states of {len(saved)} ranks, this run has {world_size()}: "
                "dropout starts from the seed again"
            )
            saved = None
        self._saved = saved

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Restores once."""
        if self._saved is not None:
            set_random_state(self._saved[data_rank()])
            self._saved = None
