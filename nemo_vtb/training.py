"""One training run from a config: what NeMo's launchers do, with our three classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from nemo_vtb.config import check_keys

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer

    from nemo_vtb.data.datamodule import VTBDataModule
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

_TOP_KEYS = ("model", "data", "trainer", "exp_manager", "seed", "threads", "hydra", "held_out")


def build(cfg: DictConfig, callbacks: "Sequence[Callback]" = ()) -> "tuple[Trainer, VoiceTextBlender, VTBDataModule]":
    """Builds trainer, model and data module.

    Args:
        cfg: Sections ``model``, ``data``, ``trainer`` and optionally ``exp_manager``, as in NeMo's SALM configs.
        callbacks: Added to the trainer's.

    Raises:
        VTBError: On a config, asset or data file that cannot work.
    """
    import torch
    from lightning.pytorch import Trainer, seed_everything
    from nemo.utils.exp_manager import exp_manager
    from nemo.utils.trainer_utils import resolve_trainer_cfg

    from nemo_vtb.data.datamodule import VTBDataModule
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    check_keys(cfg, _TOP_KEYS, "config")
    OmegaConf.resolve(cfg)
    if threads := cfg.get("threads"):
        torch.set_num_threads(threads)
    seed_everything(cfg.get("seed", 0), verbose=False)
    arguments = resolve_trainer_cfg(cfg.trainer)
    arguments["callbacks"] = [*arguments.get("callbacks", []), *callbacks]
    trainer = Trainer(**arguments)
    if cfg.get("exp_manager"):
        exp_manager(trainer, cfg.exp_manager)
    model = VoiceTextBlender(OmegaConf.to_container(cfg.model, resolve=True))
    dataset = VTBDataset(model.tokenizer, cfg.data.train_ds.get("prompt_format"))
    return trainer, model, VTBDataModule(cfg.data, model.tokenizer, dataset)


def train(cfg: DictConfig) -> "VoiceTextBlender":
    """Builds, shows progress and fits; see ``build``.

    Where the config keeps no checkpoints, the trained weights are saved at the end, as ``last.ckpt`` in
    ``trainer.default_root_dir`` (``runs/train`` by default).
    """
    from nemo.utils import logging

    from nemo_vtb.callbacks.last_checkpoint import LAST
    from nemo_vtb.callbacks.progress import KindProgress

    trainer, model, datamodule = build(cfg, [KindProgress()])
    trainer.fit(model, datamodule)
    if not trainer.checkpoint_callbacks:
        path = Path(cfg.trainer.get("default_root_dir") or "runs/train") / LAST
        trainer.save_checkpoint(path, weights_only=True)
        logging.info(f"nemo_vtb: the trained weights are in {path}")
    return model
