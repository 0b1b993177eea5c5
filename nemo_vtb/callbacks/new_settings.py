"""Going on with another learning rate, optimizer setting or schedule than the checkpoint was trained with."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from nemo.utils import logging

from nemo_vtb.optim.build import adopt, settings_of
from nemo_vtb.optim.resume import settings_in


class NewSettings(Callback):
    """Uses what the config says, where Lightning would keep what the checkpoint says.

    States of the parameters stay; rates, decays and the schedule become those of the config, the schedule as if it had
    been so from the beginning. Where nothing differs, nothing is touched.
    """

    def __init__(self) -> None:
        self._before: dict[str, Any] | None = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes note of the settings a checkpoint was trained with."""
        self._before = settings_in(checkpoint) if "optimizer_states" in checkpoint else None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Everything is restored by now."""
        before, self._before = self._before, None
        after = settings_of(pl_module)
        if before is None or before == after:
            return
        for key, (was, now) in _differences(before, after, "model").items():
            logging.info(f"nemo_vtb: going on with {key}={now}; until here it was {was}")
        scheduler = adopt(pl_module, trainer.optimizers[0], trainer.global_step)
        if scheduler is not None:
            trainer.strategy.lr_scheduler_configs[0].scheduler = scheduler


def _differences(before: Any, after: Any, where: str) -> dict[str, tuple[Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for key in {**before, **after}:
            found |= _differences(before.get(key), after.get(key), f"{where}.{key}")
        return found
    return {} if before == after else {where: (before, after)}
