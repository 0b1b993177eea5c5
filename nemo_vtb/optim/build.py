"""The optimizer and the schedule of its learning rate that a config names, PyTorch's or NeMo's.

Every schedule moves with each optimizer step, as NeMo's do.
"""

import re
import warnings
from collections.abc import Mapping
from inspect import signature
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from torch.optim.lr_scheduler import LRScheduler

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line
from nemo_vtb.parts.trainable import parameter_groups

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM
    from torch.optim import Optimizer

_OF_PYTORCH = "torch.optim.lr_scheduler."
_FUNCTION = "it takes a Python function, which a config cannot name"
REFUSED = {
    "LBFGS": "it runs the model several times a step, and its batches may differ: choose another, e.g. AdamW",
    "Muon": "it trains matrices only, and some of what is trained here are vectors: choose another, e.g. AdamW",
    "SparseAdam": "no gradient here is sparse: choose another, e.g. AdamW",
    "ReduceLROnPlateau": "it waits for a measured number, and schedules here move with every step: choose another",
    "LambdaLR": _FUNCTION,
    "MultiplicativeLR": _FUNCTION,
}
# They set the rate of every parameter group themselves.
_SETS_RATES = ("OneCycleLR", "CyclicLR")
# Where -1 stands for the length of the run, which an epoch or a share of one may decide.
_LENGTHS = ("max_steps", "T_max", "total_steps")


def check_optimizer_sections(section: Mapping[str, Any]) -> None:
    """Looks at ``model.optimizer`` and ``model.lr_scheduler`` before any weights are loaded.

    Raises:
        VTBError: Names the key that cannot work.
    """
    optimizer, schedule = section["optimizer"], section.get("lr_scheduler")
    _check_class(optimizer, "model.optimizer")
    rate = optimizer.get("lr")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate >= 0:
        raise VTBError(f"model.optimizer.lr is {rate!r}; it is a number, e.g. 1e-4")
    for pattern in section.get("lr_scale") or ():
        try:
            re.compile(pattern)
        except re.error as error:
            raise VTBError(f"model.lr_scale: {pattern!r} is no regular expression: {error}") from error
    if schedule is None:
        return
    _check_class(schedule, "model.lr_scheduler")
    if section.get("lr_scale") and _name(schedule) in _SETS_RATES:
        raise VTBError(f"model.lr_scheduler: {_name(schedule)} sets every rate itself, so model.lr_scale would be lost")


def configure(model: "SALM") -> dict[str, Any]:
    """Builds what ``configure_optimizers`` returns, over the trainable parameters, ``lr_scale`` applied.

    Raises:
        VTBError: If NeMo's list does not allow a class, or it cannot be built so.
    """
    settings = settings_of(model)
    optimizer = _build_optimizer(model, settings)
    chosen: dict[str, Any] = {"optimizer": optimizer}
    if settings["lr_scheduler"] is not None:
        scheduler = _build_scheduler(settings["lr_scheduler"], optimizer, "model.lr_scheduler")
        chosen["lr_scheduler"] = {"scheduler": scheduler, "interval": "step", "frequency": 1}
    return chosen


def settings_of(model: "SALM") -> dict[str, Any]:
    """The sections a run's optimizer comes from as plain values, the run's length filled in."""
    plain = OmegaConf.to_container(model.cfg, resolve=True)
    schedule = plain.get("lr_scheduler")
    return {
        "optimizer": plain["optimizer"],
        "lr_scale": plain.get("lr_scale") or {},
        "lr_scheduler": None if schedule is None else _with_length(schedule, model._trainer),
    }


def adopt(model: "SALM", optimizer: "Optimizer", steps: int) -> LRScheduler | None:
    """Has an optimizer that was loaded from a checkpoint go on with the settings of the config.

    Args:
        model: The model.
        optimizer: Keeps its states of the parameters.
        steps: Optimizer steps taken.

    Returns:
        The schedule where it would be had it been so from the beginning; None where the config has none.
    """
    settings = settings_of(model)
    fresh = _build_optimizer(model, settings)
    for group, new in zip(optimizer.param_groups, fresh.param_groups, strict=True):
        parameters = group["params"]
        group.clear()
        group.update(new, params=parameters)
    if settings["lr_scheduler"] is None:
        return None
    scheduler = _build_scheduler(settings["lr_scheduler"], optimizer, "model.lr_scheduler")
    with warnings.catch_warnings():
        # PyTorch expects an optimizer step before each of these: they were taken before the checkpoint.
        warnings.simplefilter("ignore")
        for _ in range(steps):
            scheduler.step()
    return scheduler


def _build_optimizer(model: "SALM", settings: Mapping[str, Any]) -> "Optimizer":
    section = settings["optimizer"]
    groups = parameter_groups(model, section["lr"], settings["lr_scale"])
    return _instantiate(section, "model.optimizer", groups)


def _build_scheduler(section: Mapping[str, Any], optimizer: "Optimizer", where: str) -> LRScheduler:
    if not section["_target_"].startswith(_OF_PYTORCH):
        return _instantiate(section, where, optimizer)
    # NeMo's list has PyTorch's optimizers only; by name, out of their module, these schedules run nothing else.
    kind = getattr(torch.optim.lr_scheduler, _name(section))
    arguments = {key: value for key, value in section.items() if key != "_target_"}
    if "schedulers" in arguments:
        arguments["schedulers"] = [
            _build_scheduler(part, optimizer, f"{where}.schedulers[{number}]")
            for number, part in enumerate(arguments["schedulers"])
        ]
    try:
        # PyTorch's one exception to the order of arguments.
        return kind(optimizer=optimizer, **arguments)
    except Exception as error:
        raise VTBError(f"{where}: {_name(section)}: {first_line(error)}") from error


def _instantiate(section: Mapping[str, Any], where: str, argument: Any) -> Any:
    from nemo.core.classes.common import safe_instantiate

    try:
        return safe_instantiate(OmegaConf.create(dict(section)), argument, _convert_="all")
    except Exception as error:
        cause = error.__cause__ or error
        raise VTBError(f"{where}: {section['_target_']}: {first_line(cause)}") from error


def _check_class(section: Any, where: str) -> None:
    if not isinstance(section, Mapping) or not isinstance(section.get("_target_"), str):
        raise VTBError(f"missing config key {where}._target_: the full name of a class")
    target, name = section["_target_"], _name(section)
    if name in REFUSED:
        raise VTBError(f"{where}._target_={target} is not supported: {REFUSED[name]}")
    if target.startswith(_OF_PYTORCH):
        kind = getattr(torch.optim.lr_scheduler, name, None)
        if target != _OF_PYTORCH + name or not (isinstance(kind, type) and issubclass(kind, LRScheduler)):
            raise VTBError(f"{where}._target_={target}: PyTorch has no schedule of this name")
        _check_arguments(kind, section, where)
        for number, part in enumerate(section.get("schedulers") or ()):
            _check_class(part, f"{where}.schedulers[{number}]")
        return
    from nemo.core.classes.common import _is_target_allowed

    if not _is_target_allowed(target):
        raise VTBError(
            f"{where}._target_={target} is no class that NeMo lets a config name, or it does not exist; choose one of "
            "torch.optim, torch.optim.lr_scheduler or nemo.core.optim.lr_scheduler"
        )
    _check_arguments(get_class(target), section, where)


def _check_arguments(kind: type, section: Mapping[str, Any], where: str) -> None:
    """Refuses keys that the class does not take, and a section that lacks one it needs."""
    arguments = {key: value for key, value in section.items() if not key.startswith("_")}
    parameters = signature(kind).parameters
    first = next(name for name in parameters if name in ("params", "optimizer"))
    try:
        signature(kind).bind(**{first: None, **arguments})
    except TypeError as error:
        raise VTBError(f"{where}: {kind.__name__}: {error}") from error


def _with_length(section: Mapping[str, Any], trainer: Any) -> dict[str, Any]:
    filled = dict(section)
    for key in _LENGTHS:
        if filled.get(key) == -1 and trainer is not None:
            steps = trainer.estimated_stepping_batches
            if not isfinite(steps) or steps < 1:
                raise VTBError(
                    f"model.lr_scheduler.{key} is -1, and the run has no number of steps it could stand for: give one, "
                    "or set trainer.max_steps or trainer.max_epochs"
                )
            filled[key] = int(steps)
    if "schedulers" in filled:
        filled["schedulers"] = [_with_length(part, trainer) for part in filled["schedulers"]]
    return filled


def _name(section: Mapping[str, Any]) -> str:
    return section["_target_"].rpartition(".")[2]
