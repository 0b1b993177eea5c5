"""Switches that a run cannot honour, each with the sentence that says why and what to do instead."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from nemo_vtb.errors import VTBError


class Refusal(NamedTuple):
    """A key, for which of its values it is refused, and why."""

    key: str
    refused: Callable[[Any], bool]
    why: str


def _is_on(value: Any) -> bool:
    return bool(value)


def _is_set(value: Any) -> bool:
    return value is not None


def _is_section(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_sharded_otherwise(value: Any) -> bool:
    name = value.get("_target_", "") if isinstance(value, Mapping) else value
    last = str(name).rpartition(".")[2]
    return last in (
        "FSDPStrategy",
        "DeepSpeedStrategy",
        "AutomodelParallelStrategy",
        "XLAStrategy",
        "XLAFSDPStrategy",
    ) or (last.partition("_")[0] in ("fsdp", "deepspeed", "xla", "hpu"))


def _is_below(least: float, also: bool = False) -> Callable[[Any], bool]:
    """Whether a number is too small; ``also``: the bound itself is."""

    def below(value: Any) -> bool:
        return _is_number(value) and (value < least or (also and value == least))

    return below


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TUNERS = (
    "StochasticWeightAveraging",
    "GradientAccumulationScheduler",
    "BatchSizeFinder",
    "LearningRateFinder",
    "BackboneFinetuning",
    "ModelPruning",
)


def _tunes(value: Any) -> bool:
    """Whether a callback, or one of a list, is one that changes the optimizer, its steps or what is trained."""
    callbacks = value if isinstance(value, list) else [value]
    return any(isinstance(c, Mapping) and str(c.get("_target_")).rpartition(".")[2] in _TUNERS for c in callbacks)


_AT_LEAST_ONE = "it is 1 or more; remove the key for the default"
_NO_TEST = "training neither tests nor predicts: remove the key; `vtb eval` measures a checkpoint"
_NO_ARCHIVE = "VoiceTextBlender has no .nemo archive: remove the key; `vtb export` writes what others read"
TRAINER = (
    Refusal(
        "plugins",
        _is_on,
        "plugins are no config values: trainer.precision and trainer.strategy choose them, and nemo_vtb writes the "
        "checkpoints; remove the key",
    ),
    Refusal("limit_test_batches", _is_set, _NO_TEST),
    Refusal("limit_predict_batches", _is_set, _NO_TEST),
    Refusal(
        "sync_batchnorm",
        _is_on,
        "ranks call the speech encoder as often as their clips need, so a batch norm that waits for all of them would "
        "hang: remove the key, or choose conv_norm_type: layer_norm for what is trained",
    ),
    Refusal(
        "reload_dataloaders_every_n_epochs",
        _is_on,
        "the loader of a blend goes on from epoch to epoch by itself; reloaded, it would begin again: remove the key",
    ),
    Refusal(
        "callbacks",
        _tunes,
        "callbacks that change the optimizer, its steps or what is trained on the way would break the exact resume: "
        f"leave out {', '.join(_TUNERS)}",
    ),
    Refusal("accumulate_grad_batches", _is_below(1), _AT_LEAST_ONE),
    Refusal("check_val_every_n_epoch", _is_below(1), _AT_LEAST_ONE),
    Refusal(
        "val_check_interval",
        _is_below(0, also=True),
        "it is a number of batches or a share of an epoch; trainer.limit_val_batches=0 validates nothing",
    ),
    Refusal("limit_train_batches", _is_below(0, also=True), "nothing would be trained: remove the key"),
    Refusal("gradient_clip_val", _is_below(0), "nothing would be clipped: give a number above 0, or remove the key"),
    Refusal("log_every_n_steps", _is_below(0), "it is 0 or more; trainer.logger=false logs nothing"),
    Refusal("profiler", _is_section, "a config names a profiler by a word: simple, advanced or pytorch"),
    Refusal(
        "strategy",
        _is_sharded_otherwise,
        "this strategy wraps frozen and trained weights together or needs another model class: choose ddp, vtb_fsdp2 "
        "or vtb_hsdp",
    ),
)
EXP_MANAGER = (
    Refusal(
        "ema.enable",
        _is_on,
        "NeMo's EMA puts its own optimizer around the run's, and a checkpoint of it cannot be resumed exactly: remove "
        "it, or average checkpoints afterwards",
    ),
    Refusal("checkpoint_callback_params.always_save_nemo", _is_on, _NO_ARCHIVE),
    Refusal("checkpoint_callback_params.save_nemo_on_train_end", _is_on, _NO_ARCHIVE),
    Refusal("checkpoint_callback_params.save_best_model", _is_on, _NO_ARCHIVE),
    Refusal(
        "checkpoint_callback_params.async_save",
        _is_on,
        "checkpoints are small, one file and written at once: remove the key",
    ),
    Refusal(
        "checkpoint_callback_params.save_last_n_optim_states",
        lambda value: value is not None and value >= 0,
        "NeMo rewrites checkpoints for it in a way that can leave half a file: remove the key, or keep fewer "
        "checkpoints with save_top_k",
    ),
    Refusal(
        "create_ipl_epoch_stopper_callback",
        _is_on,
        "it belongs to the pseudo-labelling of NeMo's ASR models: trainer.max_epochs ends a run after so many epochs",
    ),
)


def refuse(section: Mapping[str, Any], refusals: tuple[Refusal, ...], where: str) -> None:
    """Looks for keys that cannot be honoured.

    Raises:
        VTBError: Names the first one with its value, why, and what to do.
    """
    for key, refused, why in refusals:
        value: Any = section
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is not None and refused(value):
            raise VTBError(f"{where}.{key}={_shown(value)}: {why}")


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return f"[{', '.join(str(_shown(item)) for item in value)}]"
    return value.get("_target_", "{...}") if isinstance(value, Mapping) else value
