"""What callbacks of a config wait for: a number of the validation, and a logger."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

_OF_VALIDATION = "val_"
_LOGGED = ("val_loss", "val_acc")
_LOGGED_BY_RETENTION = ("val_text_drop", "val_text_kl", "val_text_score")
# NeMo's callbacks: the key that makes each, whether it does so by itself, where its settings stand, whether it keeps
# the last checkpoint by itself, what it would do without its number.
_OF_NEMO = (
    ("create_checkpoint_callback", True, "checkpoint_callback_params", True, "keep no checkpoint"),
    ("create_early_stopping_callback", False, "early_stopping_callback_params", False, "stop nothing"),
)
_NEED_LOGGER = ("LearningRateMonitor", "DeviceStatsMonitor")


def check_monitors(cfg: DictConfig) -> None:
    """Refuses callbacks that wait for a number of the validation which never comes.

    Lightning looks for it at the first validation, hours into a run, and without one never: a run whose checkpoints
    are chosen by it would keep nothing.

    Args:
        cfg: Of the whole run, whose callbacks are all in it: one of Python's may log what it likes.

    Raises:
        VTBError: Names the callback, the number, and what there is.
    """
    trainer = OmegaConf.to_container(cfg.trainer, resolve=True)
    if trainer.get("fast_dev_run"):  # type: ignore[union-attr]
        return
    held_out: Any = OmegaConf.select(cfg, "data.validation_ds")
    # NeMo has sections without named sets: what is logged of those is its own business.
    sets = None if held_out is None else held_out.get("kinds", held_out.get("datasets"))
    validated = held_out is not None and trainer.get("limit_val_batches") != 0  # type: ignore[union-attr]
    for where, monitor, keeps_last, otherwise in _monitors(trainer, cfg.get("exp_manager") or {}):
        if not monitor.startswith(_OF_VALIDATION) or (keeps_last and not validated):
            continue
        if not validated:
            why = "there is no data.validation_ds" if held_out is None else "trainer.limit_val_batches is 0"
            raise VTBError(
                f"{where} waits for {monitor}, and nothing is validated ({why}), so that it would {otherwise}: name "
                "held-out data, set its monitor to loss, or leave it out"
            )
        if sets is None:
            continue
        known = [*_LOGGED, *(f"{name}_{one}" for one in sets for name in _LOGGED)]
        if OmegaConf.select(cfg, "model.retention") is not None:
            known += _LOGGED_BY_RETENTION
        if monitor not in known:
            close = get_close_matches(monitor, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
            raise VTBError(f"{where} waits for {monitor}, which no validation of this run logs: {hint}")


def check_loggers(trainer: "Trainer") -> None:
    """Refuses callbacks that log where nothing takes it; Lightning does so once the model is loaded.

    Raises:
        VTBError: Names the callback.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        name = type(callback).__name__
        if name in _NEED_LOGGER and not trainer.loggers:
            raise VTBError(
                f"trainer.callbacks: {name} writes to a logger, and there is none: set trainer.logger=true, or leave "
                "it out"
            )


def _monitors(trainer: Any, manager: Mapping[str, Any]) -> Iterator[tuple[str, str, bool, str]]:
    """Each callback that monitors something: its place, the number, whether it keeps the last checkpoint all the same.

    And what becomes of it where the number never comes.
    """
    for number, section in enumerate(trainer.get("callbacks") or ()):
        if isinstance(section, Mapping) and isinstance(section.get("monitor"), str):
            kind = str(section.get("_target_")).rpartition(".")[2]
            otherwise = "keep no checkpoint" if "Checkpoint" in kind else "do nothing"
            yield f"trainer.callbacks[{number}] ({kind})", section["monitor"], bool(section.get("save_last")), otherwise
    if not manager:
        return
    for key, by_itself, named, keeps_last, otherwise in _OF_NEMO:
        settings = manager.get(named) or {}
        monitor = settings.get("monitor", "val_loss")
        if manager.get(key, by_itself) and isinstance(monitor, str):
            yield f"exp_manager.{key}", monitor, bool(settings.get("save_last", keeps_last)), otherwise
