"""What a run's config asks of Lightning and NeMo, looked through before anything is loaded."""

import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from inspect import signature
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.switches.monitors import check_monitors
from nemo_vtb.switches.precision import resolve_precision
from nemo_vtb.switches.refusals import EXP_MANAGER, TRAINER, refuse

# By any of these a launcher (torchrun, Slurm, by hand) tells a process where the other nodes are.
OTHER_NODES = ("MASTER_ADDR", "SLURM_NTASKS", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE")


def check_run(cfg: DictConfig, of_launcher: bool = False) -> None:
    """Refuses a config whose ``trainer`` or ``exp_manager`` asks for what a run cannot give.

    Args:
        cfg: Of the whole run.
        of_launcher: Whether NeMo's launcher will build the trainer, which makes fewer things of a config than we do.

    Raises:
        VTBError: Names the key and the remedy.
    """
    trainer = _plain(cfg, "trainer")
    if trainer is None:
        raise VTBError("missing config key trainer: a run needs to know how long it is, e.g. trainer.max_steps")
    manager = _plain(cfg, "exp_manager")
    _check_trainer(trainer)
    _check_length(trainer, manager or {})
    if manager:
        _check_manager(manager)
        if trainer.get("logger") and any(manager.get(f"create_{name}_logger") for name in ("wandb", "mlflow")):
            raise VTBError("trainer.logger and exp_manager both make a logger: set trainer.logger=false")
    if of_launcher:
        _check_for_launcher(trainer)
        check_monitors(cfg)


def _plain(cfg: DictConfig, name: str) -> dict[str, Any] | None:
    section = cfg.get(name)
    if section is None:
        return None
    if not isinstance(section, DictConfig):
        raise VTBError(f"{name} is {section!r}; it is a section of keys and values")
    if missing := sorted(OmegaConf.missing_keys(section)):
        raise VTBError(f"missing config key {name}.{missing[0]}")
    return OmegaConf.to_container(section, resolve=True)  # type: ignore[return-value]


def _check_trainer(trainer: Mapping[str, Any]) -> None:
    from lightning.pytorch import Trainer

    # Lightning's decorator keeps the signature of what it wraps.
    check_keys(trainer, [name for name in signature(Trainer.__init__).parameters if name != "self"], "trainer")
    refuse(trainer, TRAINER, "trainer")
    resolve_precision(trainer.get("precision"))
    _check_intervals(trainer)
    _check_clipping(trainer)
    if isinstance(trainer.get("logger"), str):
        raise VTBError(
            f"trainer.logger={trainer['logger']}: it is true, false, or sections with the _target_ of a logger"
        )
    nodes = trainer.get("num_nodes") or 1
    if isinstance(nodes, int) and nodes > 1 and not any(name in os.environ for name in OTHER_NODES):
        raise VTBError(
            f"trainer.num_nodes={nodes}, and nothing says where the other nodes are: start the run with torchrun or "
            "`vtb launch slurm`"
        )


def _check_length(trainer: Mapping[str, Any], manager: Mapping[str, Any]) -> None:
    said = [trainer.get(key) for key in ("max_steps", "max_epochs", "max_time", "fast_dev_run")]
    said.append(manager.get("max_time_per_run"))
    # Lightning's -1 is no end: of steps and epochs alike, a run that nobody stops.
    if not any(value for value in said if value != -1):
        raise VTBError(
            "nothing says how long the run is: set trainer.max_steps, trainer.max_epochs or trainer.max_time"
        )


def _check_intervals(trainer: Mapping[str, Any]) -> None:
    """What Lightning itself refuses only once the data are loaded."""
    interval = trainer.get("val_check_interval")
    if isinstance(interval, float) and trainer.get("check_val_every_n_epoch", 1) is None:
        raise VTBError(
            f"trainer.val_check_interval={interval} is a share of an epoch, and trainer.check_val_every_n_epoch=null "
            "counts batches across epochs: set trainer.check_val_every_n_epoch=1, or a whole number of batches"
        )
    limit = trainer.get("limit_train_batches")
    across = trainer.get("check_val_every_n_epoch", 1) is None
    if not across and _is_count(interval) and _is_count(limit) and interval > limit > 0:  # type: ignore[operator]
        raise VTBError(
            f"trainer.val_check_interval={interval} never comes in an epoch of trainer.limit_train_batches={limit}: "
            "set trainer.check_val_every_n_epoch=null to count across epochs"
        )


def _check_clipping(trainer: Mapping[str, Any]) -> None:
    if trainer.get("gradient_clip_algorithm") is not None and not trainer.get("gradient_clip_val"):
        raise VTBError(
            f"trainer.gradient_clip_algorithm={trainer['gradient_clip_algorithm']} clips nothing without "
            "trainer.gradient_clip_val"
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_manager(manager: Mapping[str, Any]) -> None:
    from nemo.utils.exp_manager import ExpManagerConfig

    _check_fields(manager, ExpManagerConfig(), "exp_manager")
    refuse(manager, EXP_MANAGER, "exp_manager")


def _check_fields(section: Mapping[str, Any], defaults: Any, where: str) -> None:
    check_keys(section, [field.name for field in fields(defaults)], where)
    for key, value in section.items():
        inner = getattr(defaults, key)
        if is_dataclass(inner) and isinstance(value, Mapping):
            _check_fields(value, inner, f"{where}.{key}")


def _check_for_launcher(trainer: Mapping[str, Any]) -> None:
    logger = trainer.get("logger")
    if isinstance(logger, Mapping | list):
        raise VTBError(
            "trainer.logger: NeMo's launchers build no logger from a section: set it to false and choose one under "
            "exp_manager, e.g. exp_manager.create_wandb_logger=true; `vtb train` does build it"
        )
    if str(trainer.get("precision")) == "auto":
        raise VTBError(
            "trainer.precision=auto: NeMo's launchers hand it to Lightning, which knows no such word: name a precision "
            "(`vtb doctor` says which suits the machine)"
        )
    if str(trainer.get("precision")) == "16-true":
        raise VTBError(
            "trainer.precision=16-true: NeMo's launchers keep the audio whole for fp16-true only: write that"
        )
