"""Keys of other libraries: hint and default by their own code, and what each is for in our words."""

import inspect
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

_LOGGER = "Of that logger."

TRAINER = {
    "accelerator": "cpu, gpu, or auto: a GPU where there is one.",
    "strategy": "How ranks share the work: ddp, vtb_fsdp2, vtb_hsdp, vtb_megatron, or a section with a ``_target_``.",
    "devices": "Of this node: a number, their numbers, or auto.",
    "num_nodes": "Machines of the run.",
    "precision": "Of the arithmetic: auto, 32-true, bf16-mixed, bf16-true, 16-mixed or fp16-true.",
    "logger": "false, true for TensorBoard, or sections with the ``_target_`` of a logger.",
    "callbacks": "Sections with a ``_target_`` each.",
    "fast_dev_run": "So many steps and batches of validation, and nothing is written.",
    "max_epochs": "Ends the run after so many times once through the blend.",
    "min_epochs": "What stops early waits for that epoch.",
    "max_steps": "Ends the run after so many optimizer steps; -1 sets no limit.",
    "min_steps": "What stops early waits for that step.",
    "max_time": "Ends the run after DD:HH:MM:SS.",
    "limit_train_batches": "Batches of an epoch, or a share of it.",
    "limit_val_batches": "Batches of each held-out kind, or a share of them.",
    "overfit_batches": "The first batches of the blend again and again.",
    "val_check_interval": "Batches from one validation to the next, or a share of an epoch.",
    "check_val_every_n_epoch": "Epochs from one validation to the next; null counts batches across epochs.",
    "num_sanity_val_steps": "Batches of validation before the first step.",
    "log_every_n_steps": "Optimizer steps from one logged row to the next.",
    "enable_checkpointing": "Lightning's ModelCheckpoint where no other callback saves.",
    "enable_progress_bar": "Lightning's bar beside the one with the loss of each kind.",
    "enable_model_summary": "Prints layers and sizes.",
    "accumulate_grad_batches": "Batches of a step; each token has the same weight.",
    "gradient_clip_val": "Largest norm, or value, of the gradients.",
    "gradient_clip_algorithm": "norm or value.",
    "deterministic": "Deterministic algorithms only; warn names those that have none.",
    "benchmark": "Of cuDNN.",
    "inference_mode": "Of a validation apart from training.",
    "use_distributed_sampler": "Changes nothing: a blend is split over ranks already.",
    "profiler": "simple, advanced or pytorch.",
    "detect_anomaly": "Looks for the operation behind a NaN.",
    "barebones": "Logs and keeps nothing on the way.",
    "default_root_dir": "Folder of what a run writes; runs/train where none is named.",
}

EXP_MANAGER = {
    "explicit_log_dir": "The run's folder, in place of exp_dir, name and version.",
    "exp_dir": "Folder of runs.",
    "name": "Of the run.",
    "version": "Of the run; a date without it.",
    "use_datetime_version": "Whether the version is a date.",
    "resume_if_exists": "Goes on from the last checkpoint of the folder.",
    "resume_past_end": "Goes on although the run had come to its end.",
    "resume_ignore_no_checkpoint": "Begins where there is no checkpoint.",
    "resume_from_checkpoint": "Goes on from this checkpoint.",
    "create_tensorboard_logger": "Logs for TensorBoard.",
    "summary_writer_kwargs": "Of that logger.",
    "create_wandb_logger": "Logs to W&B; its package must be there.",
    "wandb_logger_kwargs": "Of that logger: project, name.",
    "create_mlflow_logger": "Logs to MLflow; its package must be there.",
    "create_dllogger_logger": "Logs with DLLogger; its package must be there.",
    "create_clearml_logger": "Logs to ClearML; its package must be there.",
    "create_neptune_logger": "Logs to Neptune; its package must be there.",
    "neptune_logger_kwargs": "Of that logger.",
    "create_checkpoint_callback": "Saves the best by a metric, and the last.",
    "checkpoint_callback_params.filepath": "Deprecated in NeMo: dirpath and filename.",
    "checkpoint_callback_params.dirpath": "Folder of the checkpoints.",
    "checkpoint_callback_params.filename": "Pattern of their names.",
    "checkpoint_callback_params.monitor": "The metric: val_loss, val_loss_KIND, val_acc.",
    "checkpoint_callback_params.verbose": "Says when the metric gets better.",
    "checkpoint_callback_params.save_last": "Whether the last is kept too.",
    "checkpoint_callback_params.save_top_k": "How many of the best are kept; -1 keeps all.",
    "checkpoint_callback_params.save_weights_only": "Without what a resume needs.",
    "checkpoint_callback_params.mode": "min or max of the metric is best.",
    "checkpoint_callback_params.auto_insert_metric_name": "Whether names hold the metric's name.",
    "checkpoint_callback_params.every_n_epochs": "Epochs between two saves.",
    "checkpoint_callback_params.every_n_train_steps": "Optimizer steps between two saves.",
    "checkpoint_callback_params.train_time_interval": "Time between two saves.",
    "checkpoint_callback_params.prefix": "In front of the names.",
    "checkpoint_callback_params.postfix": "Of .nemo archives, of which there are none.",
    "checkpoint_callback_params.model_parallel_size": "Of archives, of which there are none.",
    "checkpoint_callback_params.save_on_train_epoch_end": "Saves at the end of an epoch, not of a validation.",
    "create_early_stopping_callback": "Stops when a metric gets no better.",
    "create_preemption_callback": "Saves and ends when Slurm warns of the job's end.",
    "files_to_copy": "Files that are copied into the run's folder.",
    "log_step_timing": "Seconds of each step.",
    "log_delta_step_timing": "Seconds between two steps.",
    "disable_validation_on_resume": "No validation before the first step of a run that goes on.",
    "max_time_per_run": "Saves and ends after DD:HH:MM:SS of one job; the next goes on.",
    "seconds_to_sleep": "Other ranks wait so long for the first to have made the folder.",
    "create_straggler_detection_callback": "Reports slow ranks; its package must be there.",
    "create_fault_tolerance_callback": "Restarts in place; its package must be there.",
    "log_tflops_per_sec_per_gpu": "Logs TFLOPS, of models that NeMo knows the arithmetic of.",
}
# Sections whose keys are all alike.
_GROUPS = {
    "mlflow_logger_kwargs.": _LOGGER,
    "dllogger_logger_kwargs.": _LOGGER,
    "clearml_logger_kwargs.": _LOGGER,
    "early_stopping_callback_params.": "Of Lightning's EarlyStopping.",
    "ipl_epoch_stopper_callback_params.": "Of a callback that is refused.",
    "step_timing_kwargs.": "Of the step timing.",
    "ema.": "Of averaged weights.",
    "straggler_detection_params.": "Of the straggler detection.",
    "fault_tolerance.": "Of the fault tolerance.",
}

LORA = {
    "task_type": "Of PEFT.",
    "r": "Rank.",
    "lora_alpha": "Factor of LoRA, over its rank.",
    "lora_dropout": "In front of the down-projections.",
    "target_modules": "What is adapted: auto knows the LLM family, all-linear takes every linear layer but the head.",
    "exclude_modules": "What of that is left out.",
    "fan_in_fan_out": "Whether weights stand as (in, out).",
    "bias": "Which biases train.",
    "use_rslora": "Divides alpha by the root of the rank.",
    "use_dora": "Trains direction and magnitude apart.",
    "lora_bias": "Whether up-projections have a bias.",
    "modules_to_save": "What trains whole beside LoRA.",
    "init_lora_weights": "How LoRA begins.",
    "layers_to_transform": "Which layers are adapted; null adapts all.",
    "layers_pattern": "Where the layers' numbers stand in a name.",
    "rank_pattern": "Other ranks for some modules.",
    "alpha_pattern": "Other alphas for some modules.",
    "target_parameters": "Parameters that are adapted where there is no linear layer: experts.",
}

QUANTIZATION = {
    "load_in_8bit": "8 bits.",
    "load_in_4bit": "4 bits.",
    "llm_int8_threshold": "Outliers above it are computed in half precision.",
    "llm_int8_skip_modules": "Modules that stay as they are.",
    "llm_int8_enable_fp32_cpu_offload": "Parts on the CPU in float32.",
    "llm_int8_has_fp16_weight": "Keeps weights in half precision.",
    "bnb_4bit_compute_dtype": "Of the sums; the run's precision without it.",
    "bnb_4bit_quant_type": "nf4 or fp4.",
    "bnb_4bit_use_double_quant": "Quantises the scales too.",
    "bnb_4bit_quant_storage": "Of the packed weights.",
}


def trainer_defaults() -> dict[str, tuple[Any, Any]]:
    """Hint and default of every argument of Lightning's Trainer."""
    from lightning.pytorch import Trainer

    return _arguments(Trainer)


def quantization_defaults() -> dict[str, tuple[Any, Any]]:
    """Of Transformers' BitsAndBytesConfig."""
    from transformers import BitsAndBytesConfig

    return _arguments(BitsAndBytesConfig)


def exp_manager_defaults() -> dict[str, tuple[Any, Any]]:
    """Of NeMo's exp_manager, sections within included."""
    from nemo.utils.exp_manager import ExpManagerConfig

    return dict(_fields(ExpManagerConfig(), ""))


def exp_manager_lines() -> dict[str, str]:
    """A line for each of them."""
    known = exp_manager_defaults()
    groups = {key: line for key in known for prefix, line in _GROUPS.items() if key.startswith(prefix)}
    return groups | EXP_MANAGER


def lora_defaults() -> dict[str, Any]:
    """PEFT's default of every field."""
    from peft import LoraConfig

    return {
        one.name: one.default_factory() if one.default_factory is not MISSING else one.default
        for one in fields(LoraConfig)
    }


def _arguments(kind: Any) -> dict[str, tuple[Any, Any]]:
    hints = {name: one.annotation for name, one in inspect.signature(kind.__init__).parameters.items()}
    return {
        name: (_spelled(hints[name], one.default), one.default)
        for name, one in inspect.signature(kind.__init__).parameters.items()
        if name != "self" and one.kind is not inspect.Parameter.VAR_KEYWORD
    }


def _spelled(hint: Any, default: Any) -> Any:
    if hint is not inspect.Parameter.empty and not isinstance(hint, str):
        return hint
    return Any if default in (None, inspect.Parameter.empty) else type(default)


def _fields(section: Any, prefix: str) -> "list[tuple[str, tuple[Any, Any]]]":
    hints: Mapping[str, Any] = get_type_hints(type(section))
    found: list[tuple[str, tuple[Any, Any]]] = []
    for one in fields(section):
        value = getattr(section, one.name)
        if is_dataclass(value):
            found += _fields(value, f"{prefix}{one.name}.")
        else:
            found.append((prefix + one.name, (hints[one.name], value)))
    return found
