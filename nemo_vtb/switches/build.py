"""The trainer of a config, as NeMo's launchers build it, with loggers, and with errors in one sentence."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from nemo_vtb.errors import VTBError
from nemo_vtb.switches.monitors import check_loggers, check_monitors
from nemo_vtb.switches.precision import resolve_precision

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer


def build_trainer(cfg: DictConfig, callbacks: "Sequence[Callback]" = ()) -> "Trainer":
    """Builds the trainer and, where the config has one, NeMo's exp_manager around it.

    Args:
        cfg: Of the whole run; see ``check.check_run``, which comes first.
        callbacks: Added to the trainer's.

    Raises:
        VTBError: On what Lightning or NeMo refuse.
    """
    from lightning.pytorch import Trainer
    from nemo.utils.trainer_utils import resolve_trainer_cfg

    if all(type(callback).__module__.startswith("nemo_vtb.") for callback in callbacks):
        check_monitors(cfg)
    section: dict[str, Any] = OmegaConf.to_container(cfg.trainer, resolve=True)  # type: ignore[assignment]
    strategy, logger = section.get("strategy"), section.get("logger")
    own = section.pop("callbacks", None) or []
    asked = resolve_precision(section.get("precision"))
    if asked is not None:
        section["precision"] = asked
    built = {key: section.pop(key) for key in ("strategy", "logger") if isinstance(section.get(key), Mapping | list)}
    arguments = dict(resolve_trainer_cfg(OmegaConf.create(section)))
    if "strategy" in built:
        arguments["strategy"] = instantiate(strategy, "trainer.strategy")
    if "logger" in built:
        arguments["logger"] = _instantiate_all(logger, "trainer.logger")
    arguments["callbacks"] = [*_instantiate_all(own, "trainer.callbacks"), *callbacks]
    try:
        trainer = Trainer(**arguments)
    except Exception as error:
        # Lightning has a class of its own for some mistakes and Python's for others; all are about these arguments.
        raise VTBError(f"trainer: {_said(error)}") from error
    if asked == "16-mixed" and trainer.precision != asked:
        raise VTBError(f"trainer.precision={asked} is for GPUs, here it would be {trainer.precision}: write that")
    _manage(trainer, cfg)
    check_loggers(trainer)
    _open_loggers(trainer)
    return trainer


def instantiate(section: Any, where: str) -> Any:
    """Builds what a section with a ``_target_`` names.

    Raises:
        VTBError: If NeMo's list does not allow it, or it cannot be built so.
    """
    from nemo.core.classes.common import UnsafeTargetError, safe_instantiate

    if not isinstance(section, Mapping) or "_target_" not in section:
        raise VTBError(f"{where} is {section!r}: it takes sections with a _target_, the full name of a class")
    try:
        return safe_instantiate(section)
    except UnsafeTargetError as error:
        raise VTBError(
            f"{where}: _target_={section['_target_']} is no class that NeMo lets a config name, or it cannot be "
            "imported; a class of your own is given from Python, to nemo_vtb.training.build"
        ) from error
    except Exception as error:
        raise VTBError(f"{where}: {_said(error)}") from error


def _instantiate_all(sections: Any, where: str) -> list[Any]:
    if isinstance(sections, Mapping) or not isinstance(sections, Sequence):
        sections = [sections]
    return [instantiate(section, f"{where}[{number}]") for number, section in enumerate(sections)]


def _manage(trainer: "Trainer", cfg: DictConfig) -> None:
    from nemo.utils.exp_manager import exp_manager

    if not cfg.get("exp_manager"):
        return
    try:
        exp_manager(trainer, cfg.exp_manager)
    except Exception as error:
        raise VTBError(f"exp_manager: {_said(error)}") from error


def _open_loggers(trainer: "Trainer") -> None:
    """Has every logger begin, which Lightning leaves until the model is there: some want a login."""
    for logger in trainer.loggers:
        try:
            _ = logger.experiment
        except Exception as error:
            raise VTBError(f"{type(logger).__name__}: {_said(error)}") from error


def _said(error: Exception) -> str:
    """What went wrong in one line: of Hydra's errors, the one they wrap."""
    cause = error.__cause__ if type(error).__name__ == "InstantiationException" and error.__cause__ else error
    said = " ".join(str(cause).split())
    return f"{said[:400]} ..." if len(said) > 400 else said or type(cause).__name__
