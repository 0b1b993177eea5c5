"""The only file that writes into the host: NeMo's registries, its target allow-list, a launcher's names.

Every function may run many times and in any process; each first write is logged.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from nemo_vtb.errors import VTBError

# `_target_` names that may appear in a config. Exact names, never a bare package prefix: NeMo's list guards against
# code execution from a checkpoint's config.
ALLOWED_TARGETS = (
    "nemo_vtb.modules.adapter.ConformerAdapter",
    "nemo_vtb.modules.whisper.WhisperEncoder",
    "nemo_vtb.modules.whisper.WhisperFeatures",
)

# NeMo asks for classes that are no modules to stand in a second list too.
ALLOWED_CALLBACKS = ("nemo_vtb.callbacks.last_checkpoint.LastCheckpoint",)

# Names for `trainer.strategy`; NeMo's list refuses their classes as `_target_`.
STRATEGIES = {
    "vtb_fsdp2": ({}, "FSDP2 over all ranks; one-file checkpoints of what was trained"),
    "vtb_hsdp": ({"replicas": "nodes"}, "hybrid sharding: FSDP2 inside a node, a copy per node"),
}

# Launcher name -> what it becomes. The launchers of NeMo 3.0 build exactly these three by name.
LAUNCHER_NAMES = {
    "SALM": ("nemo_vtb.models.voice_text_blender", "VoiceTextBlender"),
    "SALMDataset": ("nemo_vtb.data.dataset", "VTBDataset"),
    "DataModule": ("nemo_vtb.data.datamodule", "VTBDataModule"),
}


def register() -> None:
    """Registers targets, data types and prompt formats with NeMo. Idempotent.

    Raises:
        VTBError: If the installed versions cannot work together.
    """
    from nemo_vtb.versions import require_supported_versions

    require_supported_versions()
    _allow_targets()
    _register_strategies()
    # Importing registers: both use NeMo's own decorators and subclass hooks.
    from nemo_vtb.data import data_types  # noqa: F401
    from nemo_vtb.data.conversations import chatml  # noqa: F401


def rebind_launcher(task_function: Callable[..., Any], wanted: Iterable[str] = tuple(LAUNCHER_NAMES)) -> None:
    """Replaces the launcher's ``SALM``, ``SALMDataset`` and ``DataModule``, or some of them, by subclasses.

    Raises:
        VTBError: If a name is missing or is not the class that NeMo's launcher has there.
    """
    from importlib import import_module

    from nemo.utils import logging

    names = inspect.unwrap(task_function).__globals__
    wanted = list(wanted)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise VTBError(
            f"The launcher {names.get('__file__', task_function)} does not define {', '.join(missing)}, so nemo_vtb "
            "cannot be selected with +vtb@_global_. It supports launchers of the NeMo 3.0 shape "
            "(examples/speechlm2/salm_train.py); `vtb train` runs without one."
        )
    for name in wanted:
        module, attribute = LAUNCHER_NAMES[name]
        ours = getattr(import_module(module), attribute)
        if names[name] is ours:
            continue
        if not issubclass(ours, names[name]):
            raise VTBError(f"The launcher's {name} is {names[name]}, which {attribute} does not extend.")
        names[name] = ours
        logging.info(f"nemo_vtb: the launcher's {name} is now {module}.{attribute}")


def use_atomic_checkpoints(strategy: Any) -> None:
    """Has a Lightning strategy write each checkpoint as one file, in one move.

    Lightning's ModelParallelStrategy writes a folder of shards by default, over the previous one.
    """
    from lightning.pytorch.strategies import ModelParallelStrategy
    from nemo.utils import logging

    from nemo_vtb.models.checkpoint_io import AtomicCheckpointIO

    if isinstance(strategy.checkpoint_io, AtomicCheckpointIO):
        return
    strategy.checkpoint_io = AtomicCheckpointIO()
    if isinstance(strategy, ModelParallelStrategy):
        strategy._save_distributed_checkpoint = False
    logging.info(f"nemo_vtb: {type(strategy).__name__} writes checkpoints as one file, atomically")


def _register_strategies() -> None:
    from lightning.pytorch.strategies import StrategyRegistry
    from nemo.utils import logging

    from nemo_vtb.strategies.sharded import ShardedStrategy

    for name, (settings, description) in STRATEGIES.items():
        if name not in StrategyRegistry:
            StrategyRegistry.register(name, ShardedStrategy, description=description, **settings)
            logging.info(f"nemo_vtb: registered the strategy {name} with Lightning")


def _allow_targets() -> None:
    from nemo.core.classes import common
    from nemo.utils import logging

    targets = (*ALLOWED_TARGETS, *ALLOWED_CALLBACKS)
    new = [target for target in targets if target not in common.ALLOWED_TARGET_PREFIXES]
    if new:
        common.ALLOWED_TARGET_PREFIXES.extend(new)
        common.ALLOWED_EXACT_CLASS_TARGETS.update(ALLOWED_CALLBACKS)
        logging.info(f"nemo_vtb: allowed these config targets in NeMo: {', '.join(new)}")
