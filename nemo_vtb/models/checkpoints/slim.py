"""A folder with what was trained and nothing else: ``trained.safetensors`` and ``config.json``.

Frozen parts are named, by packaged asset or hub id, and fingerprinted, as in a ``.ckpt``. Nothing in it is of use to
training alone, and nothing is a path.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nemo_vtb.assets.names import portable_name
from nemo_vtb.errors import VTBError
from nemo_vtb.models.checkpoints.file import read_checkpoint
from nemo_vtb.paths import checkpoint_path

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM

WEIGHTS, CONFIG = "trained.safetensors", "config.json"
# Of the section model, what answers do not depend on; losses, schedules, and where a run kept its files.
_OF_TRAINING = (
    "activation_checkpointing",
    "alignment",
    "compile",
    "encoder_cache",
    "loss_backend",
    "loss_chunk",
    "lr_scale",
    "lr_scheduler",
    "retention",
    "skip_non_finite",
    "spoken_kl",
    "text_kl",
)
_NAMED = ("pretrained_llm", "pretrained_asr", "tokenizer_path")


def read_trained(path: str | Path) -> dict[str, Any]:
    """Reads a ``.ckpt`` file or a slim folder.

    Args:
        path: Of either, or ``shipped``.

    Returns:
        A checkpoint with at least ``hyper_parameters``, ``state_dict`` and ``vtb``, if the file is one of ours.

    Raises:
        VTBError: If it is missing, damaged, or a folder of another kind.
    """
    path = checkpoint_path(path)
    return _read_slim(path) if path.is_dir() else read_checkpoint(path)


def write_slim(
    model: "SALM",
    checkpoint: Mapping[str, Any],
    folder: Path,
    dtype: torch.dtype,
    names: Mapping[str, str | None],
    trained_on: Mapping[str, Any] | None = None,
) -> None:
    """Writes the folder.

    Args:
        model: The checkpoint's model.
        checkpoint: See ``read_trained``.
        folder: Made where it is missing.
        dtype: Of the stored weights.
        names: By key of the section ``model``, what to write for a folder that only this machine has.
        trained_on: See ``nemo_vtb.data.inspection.trained_on.trained_on``.

    Raises:
        VTBError: If frozen weights stand in no file, or only on this machine.
    """
    from safetensors.torch import save_file

    if not model.frozen_from_file:
        raise VTBError("model.pretrained_weights=false: the frozen weights stand in no file that could be named")
    section = portable_section(checkpoint["hyper_parameters"]["cfg"], names)
    state = {name: tensor for name, tensor in checkpoint["state_dict"].items() if not name.startswith("alignment.")}
    buffers = sorted(set(state) - set(checkpoint["vtb"]["trained"]))
    about = {
        "frozen": checkpoint["vtb"]["frozen"],
        "buffers": buffers,
        "global_step": steps_of(checkpoint),
        **({"steps_before": before} if (before := steps_before(checkpoint)) else {}),
        "trained_on": trained_on,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps({"model": section, "vtb": about}, indent=2) + "\n", encoding="utf-8")
    save_file({name: _stored(tensor, dtype) for name, tensor in state.items()}, folder / WEIGHTS)
    # safetensors writes files that only their owner can read.
    (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)


def portable_section(section: Mapping[str, Any], names: Mapping[str, str | None]) -> dict[str, Any]:
    """The section ``model`` without what belongs to training, its models named as others know them.

    Raises:
        VTBError: If a model is a folder of this machine and ``names`` has no name for it.
    """
    kept = {key: value for key, value in section.items() if key not in _OF_TRAINING}
    for key in _NAMED:
        if not kept.get(key):
            continue
        name = names.get(key) or portable_name(kept[key])
        if name is None:
            option = {"pretrained_llm": "--llm", "pretrained_asr": "--encoder"}.get(key)
            remedy = f"say what others get it by: {option} ORG/NAME" if option else "name a hub id in its place"
            raise VTBError(f"model.{key}={kept[key]} is a folder that only this machine has; {remedy}")
        kept[key] = name
    return kept


def steps_of(checkpoint: Mapping[str, Any]) -> int:
    """Optimizer steps of the run that wrote a checkpoint."""
    return checkpoint.get("global_step", checkpoint["vtb"].get("global_step", 0))


def steps_before(checkpoint: Mapping[str, Any]) -> int:
    """Optimizer steps that its weights had behind them when that run began; 0 where it began with none."""
    return checkpoint["vtb"].get("steps_before", 0)


def _read_slim(folder: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / WEIGHTS).is_file():
        raise VTBError(
            f"{folder} has no {WEIGHTS}: give a .ckpt file or a folder that `vtb export --to slim` wrote "
            "(folders of --to hf and merged: VoiceTextBlender.from_pretrained)"
        )
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        state = load_file(folder / WEIGHTS)
        about = {**config["vtb"], "trained": sorted(set(state) - set(config["vtb"]["buffers"]))}
        return {"hyper_parameters": {"cfg": config["model"]}, "state_dict": state, "vtb": about}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise VTBError(f"{folder} is not a slim checkpoint or is damaged: {type(error).__name__} {error}") from error


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous()
