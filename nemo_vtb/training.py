"""One training run from a config: what NeMo's launchers do, with our three classes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.paths import require_writable

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer

    from nemo_vtb.data.datamodule import VTBDataModule
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

_TOP_KEYS = ("model", "data", "trainer", "exp_manager", "seed", "threads", "hydra", "held_out")
_WEIGHTS_FOLDER = "runs/train"


def build(cfg: DictConfig, callbacks: "Sequence[Callback]" = ()) -> "tuple[Trainer, VoiceTextBlender, VTBDataModule]":
    """Builds trainer, model and data module.

    Args:
        cfg: Sections ``model``, ``data``, ``trainer`` and optionally ``exp_manager``, as in NeMo's SALM configs.
        callbacks: Added to the trainer's.

    Raises:
        VTBError: On a config, asset or data file that cannot work.
    """
    import torch
    from lightning.pytorch import seed_everything

    from nemo_vtb import registry
    from nemo_vtb.switches.build import build_trainer
    from nemo_vtb.switches.check import check_run

    # Before anything is built: the trainer section may name our strategies and callbacks.
    registry.register()
    if "init_from" in cfg:
        raise VTBError("unknown config key init_from: it belongs to the model, model.init_from=PATH")
    check_keys(cfg, _TOP_KEYS, "config")
    for section in ("model", "data", "trainer"):
        if cfg.get(section) is None:
            raise VTBError(f"missing config key {section}")
    try:
        OmegaConf.resolve(cfg)
    except OmegaConfBaseException as error:
        raise VTBError(f"config key {error.full_key}: {str(error).splitlines()[0]}") from error
    check_run(cfg)
    if threads := cfg.get("threads"):
        torch.set_num_threads(threads)
    seed_everything(cfg.get("seed", 0), verbose=False)
    trainer = build_trainer(cfg, callbacks)
    _check_folders(trainer)

    from nemo_vtb.data.datamodule import VTBDataModule
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    model = VoiceTextBlender(OmegaConf.to_container(cfg.model, resolve=True))
    dataset = VTBDataset(model.tokenizer, cfg.data.train_ds.get("prompt_format"))
    return trainer, model, VTBDataModule(cfg.data, model.tokenizer, dataset)


def train(cfg: DictConfig) -> "VoiceTextBlender":
    """Builds, shows progress and fits; see ``build``.

    Where the config keeps no checkpoints, the trained weights are saved at the end, as ``last.ckpt`` in
    ``trainer.default_root_dir`` (``runs/train`` by default), also when Ctrl-C or SIGTERM is the end.
    """
    from lightning.pytorch.callbacks import ModelCheckpoint
    from nemo.utils import logging

    from nemo_vtb.callbacks.last_checkpoint import TrainedWeights
    from nemo_vtb.callbacks.progress import KindProgress

    folder = OmegaConf.select(cfg, "trainer.default_root_dir") or _WEIGHTS_FOLDER
    if OmegaConf.select(cfg, "trainer.enable_checkpointing") is False and not cfg.get("exp_manager"):
        # TrainedWeights tries it too, but after the model was loaded.
        require_writable(folder, "trainer.default_root_dir")
    trainer, model, datamodule = build(cfg, [KindProgress()])
    if not trainer.checkpoint_callbacks and not trainer.fast_dev_run:
        trainer.callbacks.append(TrainedWeights(folder))
    trainer.fit(model, datamodule)
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath:
            logging.info(f"nemo_vtb: the checkpoints are in {callback.dirpath}")
    return model


def _check_folders(trainer: "Trainer") -> None:
    """Tries every folder that a run will write to, before its model is loaded."""
    from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

    from nemo_vtb.callbacks.last_checkpoint import LastCheckpoint

    if trainer.fast_dev_run or not trainer.is_global_zero:
        return
    for callback in trainer.callbacks:
        if isinstance(callback, LastCheckpoint | ModelCheckpoint) and callback.dirpath:
            require_writable(callback.dirpath, f"dirpath of {type(callback).__name__}")
        elif isinstance(callback, Checkpoint):
            require_writable(trainer.default_root_dir, "trainer.default_root_dir")
    for logger in trainer.loggers:
        if logger.save_dir:
            require_writable(logger.save_dir, f"save_dir of {type(logger).__name__}, or trainer.default_root_dir")
