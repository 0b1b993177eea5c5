"""One training run from a config: what NeMo's launchers do, with our three classes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from omegaconf import DictConfig, OmegaConf, open_dict

from nemo_vtb import start
from nemo_vtb.config import check_keys, referred_keys, resolved, section_of
from nemo_vtb.config import compose as compose  # scripts have it from here
from nemo_vtb.errors import VTBError, about_what_was_typed
from nemo_vtb.host_errors import first_line
from nemo_vtb.options import Key, Range, Seed, check_arguments, typed
from nemo_vtb.parts.machine.choice import AUTO, Choice
from nemo_vtb.paths import release, require_writable
from nemo_vtb.targets import check_targets

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer

    from nemo_vtb.data.datamodule import VTBDataModule
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

TOP_KEYS = {
    "model": Key("a section", "LLM, speech encoder, adapter, LoRA, optimizer, and how the step runs."),
    "data": Key("a section", "``train_ds`` and ``validation_ds``."),
    "trainer": Key("a section", "Arguments of Lightning's Trainer."),
    "exp_manager": Key("a section or null", "NeMo's: folder, loggers and checkpoints of a run that resumes.", None),
    "seed": Key("int of at least 0 up to 4294967295", "Of the weights that are drawn and of dropout.", 0),
    "threads": Key("int of at least 0, auto or null", "Of the processor; ``auto``: all cores it may use.", None),
    "held_out": Key("a section or null", "What ``vtb quickstart`` asks before and after.", None),
    "hydra": Key("a section", "Hydra's own.", None),
}
# Which NeMo makes something else of than Lightning's hints say.
_OF_NEMO = ("precision",)
_WEIGHTS_FOLDER = "runs/train"


def build(
    cfg: DictConfig, callbacks: "Sequence[Callback]" = (), chosen: "Mapping[str, Choice] | None" = None
) -> "tuple[Trainer, VoiceTextBlender, VTBDataModule]":
    """Builds trainer, model and data module.

    Args:
        cfg: Sections ``model``, ``data``, ``trainer`` and optionally ``exp_manager``, as in NeMo's SALM configs.
        callbacks: Added to the trainer's.
        chosen: What ``use_machine`` returned; None where nobody has called it.

    Raises:
        VTBError: On a config, asset or data file that cannot work.
    """
    from lightning.pytorch import seed_everything
    from lightning.pytorch.strategies import ModelParallelStrategy

    from nemo_vtb.parts.ranks import check_joined
    from nemo_vtb.switches.build import build_trainer

    check_config(cfg)
    if chosen is None:
        use_machine(cfg)
    if cfg.model.get("llm_backend") == "megatron":
        use_megatron(cfg)
    seed_everything(cfg.get("seed", 0), verbose=False)
    trainer = build_trainer(cfg, callbacks)
    check_joined(trainer)
    _check_folders(trainer, cfg.model.get("encoder_cache"))

    from nemo_vtb.data.datamodule import VTBDataModule
    from nemo_vtb.data.dataset import VTBDataset
    from nemo_vtb.data.prompts.formats import formatter_of
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender
    from nemo_vtb.modules.llm.waiting import weights_may_wait
    from nemo_vtb.strategies.megatron import MegatronStrategy

    if isinstance(trainer.strategy, MegatronStrategy):
        trainer.strategy.begin()
    with weights_may_wait(isinstance(trainer.strategy, ModelParallelStrategy)):
        model = VoiceTextBlender(OmegaConf.to_container(cfg.model, resolve=True))
    if (name := cfg.data.train_ds.get("prompt_format")) is not None:
        formatter_of(name, model.tokenizer, "data.train_ds.prompt_format")
    dataset = VTBDataset(model.tokenizer, name)
    start.begun()
    return trainer, model, VTBDataModule(cfg.data, model.tokenizer, dataset)


@about_what_was_typed()
def check_config(cfg: DictConfig) -> None:
    """Refuses a training config before anything is loaded; fills in its interpolations.

    Raises:
        VTBError: Names the key that is missing, unknown or odd.
    """
    from lightning.pytorch import Trainer

    from nemo_vtb import registry
    from nemo_vtb.data.options import augments, check_held_out_section, check_train_section
    from nemo_vtb.models.options import check_model_section, step_options
    from nemo_vtb.switches.check import check_run
    from nemo_vtb.switches.sweep import check_sweep

    # Before anything is built: the trainer section may name our strategies and callbacks.
    registry.register()
    if "init_from" in cfg:
        raise VTBError("unknown config key init_from: it belongs to the model, model.init_from=PATH")
    check_keys(cfg, TOP_KEYS.keys() | referred_keys(cfg), "config")
    check_sweep(cfg)
    resolved(cfg)
    for name in ("model", "data.train_ds", "trainer"):
        section_of(cfg, name)
    if missing := [key for key in OmegaConf.missing_keys(cfg) if key.startswith(("model", "trainer", "exp_manager"))]:
        raise VTBError(f"missing config key {min(missing)}: say {min(missing)}=...")
    typed("seed", cfg.get("seed", 0), Seed)
    check_run(cfg)
    trainer = OmegaConf.to_container(cfg.trainer)
    check_arguments(Trainer, {key: value for key, value in trainer.items() if key not in _OF_NEMO}, "trainer")
    typed("trainer.devices", trainer.get("devices", "auto"), Annotated[int, Range(-1, 4096)] | str | list[int])
    if trainer.get("devices") in ([], ""):
        raise VTBError("trainer.devices is empty; it is a number of devices, their numbers, or auto")
    typed("trainer.num_nodes", trainer.get("num_nodes", 1), Annotated[int, Range(1, 10**5)])
    check_targets({key: cfg.trainer.get(key) for key in ("strategy", "callbacks", "logger")}, "trainer")
    check_model_section(cfg.model)
    step_options(cfg.model)
    if "blend" in cfg.data.train_ds:
        check_train_section(cfg.data.train_ds)
        if cfg.model.get("encoder_cache") and augments(cfg.data.train_ds):
            raise VTBError(
                "model.encoder_cache keeps what a clip sounded like when it was first heard, and data.train_ds.augment "
                "changes that each time: leave one of them out"
            )
    for name in ("train_ds", "validation_ds"):
        written, asked = OmegaConf.select(cfg, f"data.{name}.prompt_format"), cfg.model.get("prompt_format") or AUTO
        if written is not None and written != asked:
            raise VTBError(
                f"data.{name}.prompt_format is {written!r}, and model.prompt_format is {asked!r}: the model would be "
                "asked in another format than it learns; write ${model.prompt_format} there"
            )
        tag, own = OmegaConf.select(cfg, f"data.{name}.audio_locator_tag"), cfg.model.audio_locator_tag
        if tag is not None and tag != own:
            raise VTBError(
                f"data.{name}.audio_locator_tag is {tag!r}, and model.audio_locator_tag is {own!r}: the model would "
                "not find its clips; write ${model.audio_locator_tag} there"
            )
    held_out = section_of(cfg, "data.validation_ds", needed=False)
    if held_out is not None and "kinds" in held_out:
        check_held_out_section(held_out)


def use_megatron(cfg: DictConfig) -> None:
    """Gives a run of ``model.llm_backend: megatron`` the strategy that knows its groups of ranks.

    Raises:
        VTBError: If the config asks for another, or megatron-core is not installed.
    """
    from nemo_vtb.modules.megatron.groups import require_megatron

    require_megatron()
    asked = cfg.trainer.get("strategy")
    name = asked if asked is None or isinstance(asked, str) else str(asked.get("_target_")).rpartition(".")[2]
    if name not in (None, "auto", "ddp", "vtb_megatron", "MegatronStrategy"):
        raise VTBError(
            f"trainer.strategy={name} cannot hold an LLM of model.llm_backend=megatron: leave it out, or say "
            "vtb_megatron"
        )
    if cfg.trainer.get("precision") in ("16-mixed", 16, "16"):
        raise VTBError(
            "trainer.precision=16-mixed: its gradient scaler leaves steps out on single ranks, and the parts of an LLM "
            "of model.llm_backend=megatron would fall out of step: choose bf16-mixed, bf16-true or 32-true"
        )
    if name in (None, "auto", "ddp"):
        with open_dict(cfg):
            cfg.trainer.strategy = "vtb_megatron"


def use_machine(cfg: DictConfig) -> "dict[str, Choice]":
    """Puts what ``auto`` becomes here into a config, sets PyTorch's threads, and says so once.

    Returns:
        See ``nemo_vtb.models.for_machine.settings_here``.
    """
    from nemo_vtb.models.for_machine import check_accelerator, settings_here, use

    check_accelerator(cfg)
    chosen = settings_here(cfg)
    use(chosen)
    if cfg.trainer.get("precision") == AUTO:
        cfg.trainer.precision = chosen["precision"].value
    return chosen


def train(cfg: DictConfig) -> "VoiceTextBlender":
    """Builds, shows progress and fits; see ``build``.

    Where the config keeps no checkpoints, the trained weights are saved at the end, as ``last.ckpt`` in
    ``trainer.default_root_dir`` (``runs/train`` by default), also when Ctrl-C or SIGTERM is the end; so they are where
    the run was over before it came to keep one.

    Raises:
        VTBError: On what ``build`` or Lightning refuse.
    """
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.utilities.exceptions import MisconfigurationException
    from nemo.utils import logging

    from nemo_vtb.callbacks.last_checkpoint import TrainedWeights, save_if_nothing_is_kept
    from nemo_vtb.callbacks.progress import KindProgress

    folder = OmegaConf.select(cfg, "trainer.default_root_dir") or _WEIGHTS_FOLDER
    trainer_keeps = OmegaConf.select(cfg, "trainer.enable_checkpointing") is not False
    if not (trainer_keeps or cfg.get("exp_manager") or OmegaConf.select(cfg, "trainer.fast_dev_run")):
        # TrainedWeights tries it too, but after the model was loaded.
        require_writable(folder, "trainer.default_root_dir")
    trainer, model, datamodule = build(cfg, [KindProgress()])
    if not trainer.checkpoint_callbacks and not trainer.fast_dev_run:
        trainer.callbacks.append(TrainedWeights(folder))
    try:
        trainer.fit(model, datamodule)
    except MisconfigurationException as error:
        # Of shares that are less than a batch, numbers that nobody logs: known once the data are there.
        raise VTBError(f"trainer: {first_line(error)}") from error
    save_if_nothing_is_kept(trainer, folder)
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.dirpath:
            logging.info(f"nemo_vtb: the checkpoints are in {callback.dirpath}")
    return model


def _check_folders(trainer: "Trainer", frames: bool | str | None) -> None:
    """Tries every folder that a run will write to, before its model is loaded."""
    from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

    from nemo_vtb.callbacks.last_checkpoint import LastCheckpoint

    if not trainer.is_global_zero:
        return
    if isinstance(frames, str):
        require_writable(frames, "model.encoder_cache")
    if trainer.fast_dev_run:
        return
    for callback in trainer.callbacks:
        if isinstance(callback, LastCheckpoint):
            callback.claim(trainer)
            release(callback.folder(trainer))  # its own from the first step: what is only checked holds nothing
        elif isinstance(callback, ModelCheckpoint) and callback.dirpath:
            require_writable(callback.dirpath, "dirpath of ModelCheckpoint")
        elif isinstance(callback, Checkpoint):
            require_writable(trainer.default_root_dir, "trainer.default_root_dir")
    for logger in trainer.loggers:
        if logger.save_dir:
            require_writable(logger.save_dir, f"save_dir of {type(logger).__name__}, or trainer.default_root_dir")
