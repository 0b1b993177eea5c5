"""Every switch of Lightning and NeMo that a user of theirs knows: what it does here, or the sentence that refuses it.

python tests/switches/switch_table.py     writes the tables of tutorials/training.md anew

``test_switches.py`` trains with what is in WORKS and is refused with what is in REFUSED.
"""

from pathlib import Path
from typing import NamedTuple

GUIDE = Path(__file__).parents[2] / "tutorials" / "training.md"
BEGIN, END = "<!-- switches: written by tests/switches/switch_table.py -->", "<!-- end of switches -->"


class Works(NamedTuple):
    """An override, what it does, and the run of the test that tries it; those of one run are given together."""

    override: str
    does: str
    run: str


class Refused(NamedTuple):
    """Overrides and the sentence that follows them, before anything is loaded."""

    overrides: str
    sentence: str


_T, _E = "trainer.", "exp_manager."
_TORCH = "model.lr_scheduler._target_=torch.optim.lr_scheduler."
WORKS = (
    Works("trainer.max_epochs=2", "ends after two epochs of the blend", "epochs"),
    Works("trainer.max_steps=-1", "no limit in steps; another limit must be given", "epochs"),
    Works("trainer.val_check_interval=0.5", "validates twice an epoch", "epochs"),
    Works("trainer.check_val_every_n_epoch=1", "counts validation in epochs; `null` counts batches", "epochs"),
    Works("trainer.limit_val_batches=1", "one batch of each held-out kind; a share works too", "epochs"),
    Works("trainer.max_time=00:00:00:01", "ends after a second of training (DD:HH:MM:SS)", "time"),
    Works("trainer.min_steps=2", "and not before two steps", "time"),
    Works(
        "trainer.overfit_batches=2", "the first two batches again and again; a share of an epoch works too", "overfit"
    ),
    Works("trainer.limit_train_batches=0.5", "an epoch is half as long", "share"),
    Works("trainer.min_epochs=1", "what stops early waits for the end of the first epoch", "share"),
    Works("trainer.limit_train_batches=3", "an epoch is three batches", "counts"),
    Works("trainer.val_check_interval=3", "validates after every third batch", "counts"),
    Works("trainer.limit_val_batches=0.5", "half of the held-out batches", "counts"),
    Works("trainer.fast_dev_run=2", "two steps and two batches of validation; nothing is written", "trial"),
    Works("trainer.accumulate_grad_batches=2", "a step is two batches, each token with the same weight", "clipped"),
    Works("trainer.gradient_clip_val=0.001", "clips gradients", "clipped"),
    Works("trainer.gradient_clip_algorithm=value", "each value of them; `norm` is the default", "clipped"),
    Works("trainer.num_sanity_val_steps=1", "validates one batch before the first step", "careful"),
    Works("trainer.deterministic=true", "deterministic algorithms only; `warn` works too", "careful"),
    Works("trainer.detect_anomaly=true", "looks for the operation behind a NaN", "careful"),
    Works("trainer.benchmark=false", "of cuDNN", "careful"),
    Works("trainer.profiler=simple", "prints where the time goes; `advanced` and `pytorch` work too", "careful"),
    Works("trainer.use_distributed_sampler=true", "changes nothing: a blend is split over ranks already", "careful"),
    Works("trainer.devices=auto", "every GPU of the machine, or one process on a CPU", "careful"),
    Works("trainer.accelerator=auto", "a GPU where there is one", "careful"),
    Works("trainer.enable_progress_bar=true", "Lightning's bar beside the one with the loss of each kind", "careful"),
    Works("trainer.enable_model_summary=true", "prints layers and sizes", "careful"),
    Works("trainer.inference_mode=false", "of a validation apart from training, as in `vtb quickstart`", "careful"),
    Works("trainer.enable_checkpointing=true", "Lightning's ModelCheckpoint; where it saves is said", "careful"),
    Works("trainer.logger=true", "TensorBoard in `trainer.default_root_dir`", "careful"),
    Works("trainer.barebones=true", "nothing is logged or kept on the way; the weights are, at the end", "bare"),
    Works("trainer.log_every_n_steps=0", "goes with it", "bare"),
    Works("trainer.precision=bf16", "`bf16-mixed`: bfloat16 arithmetic, float32 weights", "mixed"),
    Works(
        "trainer.logger=[{_target_:lightning.pytorch.loggers.CSVLogger,save_dir:csv}]",
        "any of Lightning's loggers, one or a list",
        "mixed",
    ),
    Works("+model.spoken_kl=0.5", "distils spoken turns from their own words; `text_kl` holds text turns", "mixed"),
    Works("trainer.strategy=vtb_fsdp2", "shards over all ranks; `ddp` and `vtb_hsdp` work too", "mixed"),
    Works("model.optimizer._target_=torch.optim.SGD", "PyTorch's optimizers", "mixed"),
    Works("trainer.precision=bf16-true", "frozen weights bfloat16, what is trained float32", "half"),
    Works(f"{_TORCH}CosineAnnealingLR", "PyTorch's schedules, moved with every step", "half"),
    Works("+model.lr_scheduler.T_max=-1", "the length of the run, also where epochs decide it", "half"),
    Works("trainer.precision=16-true", "`fp16-true`: NeMo's name, with which the audio stays whole", "fp16"),
    Works(
        "model.lr_scheduler={_target_:nemo.core.optim.lr_scheduler.CosineAnnealing,max_steps:-1,warmup_steps:1}",
        "NeMo's schedules",
        "fp16",
    ),
    Works("exp_manager.explicit_log_dir=managed", "the run's folder; `exp_dir`, `name`, `version` work too", "managed"),
    Works("exp_manager.create_tensorboard_logger=true", "and W&B, MLflow, ... where their packages are", "managed"),
    Works("exp_manager.resume_if_exists=true", "goes on from the folder's last checkpoint", "managed"),
    Works("exp_manager.resume_ignore_no_checkpoint=true", "begins where there is none", "managed"),
    Works("exp_manager.create_checkpoint_callback=true", "the best by `monitor`, and the last", "managed"),
    Works("exp_manager.checkpoint_callback_params.save_top_k=1", "how many of the best", "managed"),
    Works("exp_manager.checkpoint_callback_params.monitor=val_loss", "any `val_loss_KIND`, `val_acc`, ...", "managed"),
    Works("exp_manager.create_early_stopping_callback=true", "stops when `monitor` gets no better", "managed"),
    Works("exp_manager.log_step_timing=true", "seconds of each step", "managed"),
    Works("exp_manager.max_time_per_run=00:00:00:01", "saves and ends after a second; the next run goes on", "timed"),
)
_PRECISIONS = "choose auto, 32-true, bf16-mixed, bf16-true, 16-mixed or fp16-true"
_TESTS = "training neither tests nor predicts: remove the key; `vtb eval` measures a checkpoint"
_ARCHIVE = "VoiceTextBlender has no .nemo archive: remove the key; `vtb export` writes what others read"
_STRATEGY = (
    "this strategy wraps frozen and trained weights together or needs another model class: choose ddp, vtb_fsdp2 or "
    "vtb_hsdp"
)
_PARAMS = "exp_manager.checkpoint_callback_params."
_FUNCTION = "it takes a Python function, which a config cannot name"
REFUSED = (
    Refused(
        "trainer.max_steps=-1",
        "nothing says how long the run is: set trainer.max_steps, trainer.max_epochs or trainer.max_time",
    ),
    Refused(
        "trainer.val_check_interval=0.5 trainer.check_val_every_n_epoch=null",
        "trainer.val_check_interval=0.5 is a share of an epoch, and trainer.check_val_every_n_epoch=null counts "
        "batches across epochs: set trainer.check_val_every_n_epoch=1, or a whole number of batches",
    ),
    Refused(
        "trainer.val_check_interval=9 trainer.limit_train_batches=3",
        "trainer.val_check_interval=9 never comes in an epoch of trainer.limit_train_batches=3: set "
        "trainer.check_val_every_n_epoch=null to count across epochs",
    ),
    Refused(
        "trainer.gradient_clip_algorithm=value",
        "trainer.gradient_clip_algorithm=value clips nothing without trainer.gradient_clip_val",
    ),
    Refused(
        "trainer.gradient_clip_val=1 trainer.gradient_clip_algorithm=length",
        "trainer: `gradient_clip_algorithm` length is invalid. Allowed algorithms: ['value', 'norm'].",
    ),
    Refused(
        "trainer.max_steps=-1 trainer.max_epochs=-1",
        "nothing says how long the run is: set trainer.max_steps, trainer.max_epochs or trainer.max_time",
    ),
    *(
        Refused(f"trainer.{key}=0", f"trainer.{key}=0: it is 1 or more; remove the key for the default")
        for key in ("accumulate_grad_batches", "check_val_every_n_epoch")
    ),
    Refused(
        "trainer.val_check_interval=0",
        "trainer.val_check_interval=0: it is a number of batches or a share of an epoch; trainer.limit_val_batches=0 "
        "validates nothing",
    ),
    Refused("trainer.limit_train_batches=0", "trainer.limit_train_batches=0: nothing would be trained: remove the key"),
    Refused(
        "trainer.gradient_clip_val=-1",
        "trainer.gradient_clip_val=-1: nothing would be clipped: give a number above 0, or remove the key",
    ),
    Refused(
        "trainer.callbacks=[{_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:val_los}]",
        "trainer.callbacks[0] (EarlyStopping) waits for val_los, which no validation of this run logs: did you mean "
        "val_loss?",
    ),
    Refused(
        "trainer.callbacks=[{_target_:lightning.pytorch.callbacks.EarlyStopping,monitor:val_loss}] "
        "trainer.limit_val_batches=0",
        "trainer.callbacks[0] (EarlyStopping) waits for val_loss, and nothing is validated (trainer.limit_val_batches "
        "is 0), so that it would do nothing: name held-out data, set its monitor to loss, or leave it out",
    ),
    Refused(
        "exp_manager.checkpoint_callback_params.save_last=false trainer.limit_val_batches=0",
        "exp_manager.create_checkpoint_callback waits for val_loss, and nothing is validated "
        "(trainer.limit_val_batches is 0), so that it would keep no checkpoint: name held-out data, set its monitor to "
        "loss, or leave it out",
    ),
    Refused(
        "trainer.callbacks=[{_target_:lightning.pytorch.callbacks.LearningRateMonitor}]",
        "trainer.callbacks: LearningRateMonitor writes to a logger, and there is none: set trainer.logger=true, or "
        "leave it out",
    ),
    Refused("trainer.limit_test_batches=2", f"trainer.limit_test_batches=2: {_TESTS}"),
    Refused("trainer.limit_predict_batches=2", f"trainer.limit_predict_batches=2: {_TESTS}"),
    Refused(
        "trainer.num_nodes=2",
        "trainer.num_nodes=2, and nothing says where the other nodes are: start the run with torchrun or "
        "`vtb launch slurm`",
    ),
    Refused(
        "trainer.sync_batchnorm=true",
        "trainer.sync_batchnorm=True: ranks call the speech encoder as often as their clips need, so a batch norm that "
        "waits for all of them would hang: remove the key, or choose conv_norm_type: layer_norm for what is trained",
    ),
    Refused(
        "trainer.reload_dataloaders_every_n_epochs=1",
        "trainer.reload_dataloaders_every_n_epochs=1: the loader of a blend goes on from epoch to epoch by itself; "
        "reloaded, it would begin again: remove the key",
    ),
    Refused(
        "trainer.plugins=[{_target_:lightning.pytorch.plugins.MixedPrecision}]",
        "trainer.plugins=[lightning.pytorch.plugins.MixedPrecision]: plugins are no config values: trainer.precision "
        "and trainer.strategy choose them, and nemo_vtb writes the checkpoints; remove the key",
    ),
    Refused(
        "trainer.profiler={_target_:lightning.pytorch.profilers.SimpleProfiler}",
        "trainer.profiler=lightning.pytorch.profilers.SimpleProfiler: a config names a profiler by a word: simple, "
        "advanced or pytorch",
    ),
    Refused(
        "trainer.precision=16",
        "trainer.precision=16-mixed is for GPUs, here it would be bf16-mixed: write that",
    ),
    *(
        Refused(f"trainer.precision={name}", f"trainer.precision={name}: {why}: {_PRECISIONS}")
        for name, why in (
            ("64", "double precision is not supported"),
            ("64-true", "double precision is not supported"),
            ("transformer-engine", "NVIDIA's Transformer Engine is not supported"),
            ("bf16-flash", "it is for the flash optimizers of NeMo Automodel, which is not supported"),
        )
    ),
    Refused("trainer.precision=BF16", "trainer.precision=BF16 is no precision: did you mean bf16?"),
    Refused("trainer.strategy=fsdp", f"trainer.strategy=fsdp: {_STRATEGY}"),
    Refused("trainer.strategy=deepspeed_stage_2", f"trainer.strategy=deepspeed_stage_2: {_STRATEGY}"),
    Refused(
        "trainer.strategy={_target_:lightning.pytorch.strategies.FSDPStrategy}",
        f"trainer.strategy=lightning.pytorch.strategies.FSDPStrategy: {_STRATEGY}",
    ),
    Refused(
        "trainer.logger=tensorboard",
        "trainer.logger=tensorboard: it is true, false, or sections with the _target_ of a logger",
    ),
    Refused(
        "trainer.callbacks=[{_target_:mine.Callback}]",
        "trainer.callbacks[0]: _target_=mine.Callback is no class that NeMo lets a config name, or it cannot be "
        "imported; a class of your own is given from Python, to nemo_vtb.training.build",
    ),
    Refused(
        "trainer.callbacks=[{_target_:lightning.pytorch.callbacks.StochasticWeightAveraging,swa_lrs:0.1}]",
        "trainer.callbacks=[lightning.pytorch.callbacks.StochasticWeightAveraging]: callbacks that change the "
        "optimizer, its steps or what is trained on the way would break the exact resume: leave out "
        "StochasticWeightAveraging, GradientAccumulationScheduler, BatchSizeFinder, LearningRateFinder, "
        "BackboneFinetuning, ModelPruning",
    ),
    Refused("trainer.max_step=2", "unknown config key trainer.max_step; did you mean 'max_steps'?"),
    Refused(
        "exp_manager.ema.enable=true",
        "exp_manager.ema.enable=True: NeMo's EMA puts its own optimizer around the run's, and a checkpoint of it "
        "cannot be resumed exactly: remove it, or average checkpoints afterwards",
    ),
    Refused(f"{_PARAMS}always_save_nemo=true", f"{_PARAMS}always_save_nemo=True: {_ARCHIVE}"),
    Refused(f"{_PARAMS}save_nemo_on_train_end=true", f"{_PARAMS}save_nemo_on_train_end=True: {_ARCHIVE}"),
    Refused(f"{_PARAMS}save_best_model=true", f"{_PARAMS}save_best_model=True: {_ARCHIVE}"),
    Refused(
        f"{_PARAMS}async_save=true",
        f"{_PARAMS}async_save=True: checkpoints are small, one file and written at once: remove the key",
    ),
    Refused(
        f"{_PARAMS}save_last_n_optim_states=1",
        f"{_PARAMS}save_last_n_optim_states=1: NeMo rewrites checkpoints for it in a way that can leave half a file: "
        "remove the key, or keep fewer checkpoints with save_top_k",
    ),
    Refused(
        "exp_manager.create_ipl_epoch_stopper_callback=true",
        "exp_manager.create_ipl_epoch_stopper_callback=True: it belongs to the pseudo-labelling of NeMo's ASR models: "
        "trainer.max_epochs ends a run after so many epochs",
    ),
    Refused(
        "exp_manager.create_wandb_loger=true",
        "unknown config key exp_manager.create_wandb_loger; did you mean 'create_wandb_logger'?",
    ),
    Refused(
        "exp_manager.create_straggler_detection_callback=true",
        "exp_manager: `create_straggler_detection_callback` is True, but there is no Straggler Det. package installed.",
    ),
    *(
        Refused(
            f"model.optimizer._target_=torch.optim.{name}",
            f"model.optimizer._target_=torch.optim.{name} is not supported: {why}: choose another, e.g. AdamW",
        )
        for name, why in (
            ("LBFGS", "it runs the model several times a step, and its batches may differ"),
            ("Muon", "it trains matrices only, and some of what is trained here are vectors"),
            ("SparseAdam", "no gradient here is sparse"),
        )
    ),
    Refused(
        "+model.optimizer.weight_decy=0.1",
        "model.optimizer: AdamW: got an unexpected keyword argument 'weight_decy'",
    ),
    Refused(
        f"{_TORCH}ReduceLROnPlateau",
        "model.lr_scheduler._target_=torch.optim.lr_scheduler.ReduceLROnPlateau is not supported: it waits for a "
        "measured number, and schedules here move with every step: choose another",
    ),
    *(
        Refused(
            f"{_TORCH}{name}",
            f"model.lr_scheduler._target_=torch.optim.lr_scheduler.{name} is not supported: {_FUNCTION}",
        )
        for name in ("LambdaLR", "MultiplicativeLR")
    ),
)


def tables() -> str:
    """Both tables as Markdown."""
    lines = ["| switch | what it does |", "|---|---|"]
    lines += [f"| `{_shown(row.override)}` | {row.does} |" for row in WORKS]
    lines += ["", "| refused | with the sentence |", "|---|---|"]
    lines += [f"| `{_shown(row.overrides)}` | {row.sentence.replace('|', chr(92) + '|')} |" for row in REFUSED]
    return "\n".join(lines)


def written(guide: str) -> str:
    """The guide with the tables of today between its two marks."""
    before, rest = guide.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.split(END)[1]}"


def _shown(overrides: str) -> str:
    return overrides.replace("+model", "model")


if __name__ == "__main__":
    GUIDE.write_text(written(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
