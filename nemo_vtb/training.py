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


def compose(config_name: str, overrides: list[str], config_dir: str | Path | None = None) -> DictConfig:
    """Composes a shipped or a user's config with Hydra.

    Raises:
        VTBError: If Hydra refuses the name or an override; the message is Hydra's.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from nemo_vtb.errors import VTBError
    from nemo_vtb.paths import config_dir as shipped

    folder = Path(config_dir).resolve() if config_dir else shipped()
    searched = [] if folder == shipped() else [f"hydra.searchpath=[file://{shipped()}]"]
    try:
        with initialize_config_dir(str(folder), version_base=None):
            return hydra_compose(config_name, overrides=[*searched, *overrides])
    except (HydraException, OmegaConfBaseException) as error:
        # Hydra takes an override of a key for one of a config group wherever a folder has that name.
        names = [override.partition("=")[0] for override in overrides]
        taken = next((name for name in names if config_dir and name and (folder / name).is_dir()), None)
        hint = f" (the folder {folder / taken} makes {taken}= a config group: rename it)" if taken else ""
        raise VTBError(f"config '{config_name}': {error}{hint}") from error
