"""What ``auto`` in a config becomes on this machine: ``trainer.precision``, the LLM's attention, ``threads``."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.assets.resolve import local_folder
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import blamed_on
from nemo_vtb.models.checkpoints.file import read_checkpoint
from nemo_vtb.options import Threads, typed
from nemo_vtb.parts.machine.choice import AUTO, Choice, choose_attention, choose_precision, choose_threads, is_half
from nemo_vtb.parts.machine.hardware import Machine, default_device, look, parameter_count

if TYPE_CHECKING:
    from omegaconf import DictConfig

_ASKED = "as the config says"
_DEVICES = {"gpu": "cuda", "cuda": "cuda", "cpu": "cpu", "mps": "mps"}


def settings_here(cfg: "DictConfig") -> dict[str, Choice]:
    """What a training config runs with here.

    Every rank comes to the same on machines of one kind, by what they have and not by what each of them measures; the
    model compares them (``agree``). A run that goes on keeps the precision it had.

    Args:
        cfg: With sections ``model`` and ``trainer``, interpolations filled in.

    Returns:
        ``precision``, ``attention`` and ``threads``; a threads' value of None leaves PyTorch's.

    Raises:
        VTBError: If ``threads`` is neither a number nor ``auto``, or a checkpoint to go on from is damaged.
    """
    trainer, model = cfg.get("trainer") or {}, cfg.get("model") or {}
    device = _DEVICES.get(str(trainer.get("accelerator", AUTO)), default_device())
    here = _ranks_here(trainer, device)
    alone = here * _number(trainer.get("num_nodes", 1)) == 1 and int(os.environ.get("WORLD_SIZE", 1)) == 1
    machine = look(device, measured=alone and trainer.get("precision") == AUTO)
    precision = _precision(cfg, trainer, model, machine, alone)
    return {
        "precision": precision,
        "attention": _attention(model, machine, precision),
        "threads": threads_here(cfg.get("threads"), here),
    }


def check_accelerator(cfg: "DictConfig") -> None:
    """Refuses a trainer that wants a GPU where there is none.

    Raises:
        VTBError: Names the key.
    """
    asked = str((cfg.get("trainer") or {}).get("accelerator", AUTO))
    wanted = _DEVICES.get(asked)
    if wanted in ("cuda", "mps") and default_device() != wanted:
        raise VTBError(
            f"trainer.accelerator={asked}, and this machine has no GPU that PyTorch can use (`vtb doctor`); "
            "trainer.accelerator=cpu trains without, trainer.devices=1 trainer.num_nodes=1 in one process"
        )


def threads_here(asked: Any, ranks: int = 1) -> Choice:
    """The threads of one process; a value of None leaves PyTorch's.

    Raises:
        VTBError: If what is asked is neither a number nor ``auto``.
    """
    if asked is None:
        return Choice(None, "PyTorch's own; the config has no threads")
    if typed("threads", asked, Threads) == AUTO:
        return choose_threads(look("cpu", measured=False), os.environ, ranks)
    return Choice(asked or None, _ASKED)


def use_for_answers(precision: Any, device: str, threads: Any) -> dict[str, Choice]:
    """Settles with what a checkpoint answers here, sets PyTorch's threads, says so; see ``answer_settings``."""
    chosen = answer_settings(precision, device, threads)
    use(chosen)
    return chosen


def answer_settings(precision: Any, device: Any, threads: Any) -> dict[str, Choice]:
    """With what a checkpoint answers here.

    Args:
        precision: ``auto``, ``32-true`` or ``bf16-mixed``.
        device: As PyTorch names it.
        threads: A number, ``auto``, or None for PyTorch's own.

    Returns:
        ``precision``, ``attention`` and ``threads``, for the report and for ``load_checkpoint``.

    Raises:
        VTBError: If one of them is none, or this machine has no such device.
    """
    kind = device_type(device)
    found = precision_here(precision, kind)
    attention = choose_attention(look(kind, measured=False), is_half(found.value))
    return {"precision": found, "attention": attention, "threads": threads_here(threads)}


def use(chosen: Mapping[str, Choice]) -> None:
    """Sets PyTorch's threads, and has the first rank print every choice with its reason."""
    import torch
    from lightning.pytorch.utilities import rank_zero_only

    for name, choice in chosen.items() if rank_zero_only.rank == 0 else ():
        print(f"{name}: {choice}", file=sys.stderr, flush=True)
    if chosen["threads"].value:
        torch.set_num_threads(chosen["threads"].value)


def use_threads(asked: Any) -> Choice:
    """Sets PyTorch's threads for a single process, and says so; see ``threads_here``."""
    choice = threads_here(asked)
    use({"threads": choice})
    return choice


def device_type(device: Any) -> str:
    """The type of a device as PyTorch names it.

    Raises:
        VTBError: If it is none, or this machine has none of them.
    """
    import torch

    with blamed_on(f"device is {device!r}", "it is cpu, cuda or cuda:1, for instance"):
        kind = torch.device(device).type
    if kind == "cuda" and not torch.cuda.is_available():
        raise VTBError(f"device is {device!r}, and this machine has no GPU that PyTorch can use; say cpu")
    if kind not in _DEVICES.values():
        # PyTorch knows names of much that this machine does not have, and of one, meta, that holds no numbers at all.
        try:
            torch.zeros(1, device=device).item()
        except Exception as error:
            raise VTBError(f"device is {device!r}, and this machine cannot compute with one; say cpu") from error
    if kind == "mps" and not torch.backends.mps.is_available():
        raise VTBError(f"device is {device!r}, and this machine has none; say cpu")
    return kind


def precision_here(asked: Any, device: str) -> Choice:
    """The precision that answers are computed in: ``auto``, ``32-true`` or ``bf16-mixed``.

    Raises:
        VTBError: If it is another.
    """
    known = (AUTO, "32-true", "bf16-mixed")
    if asked not in known:
        raise VTBError(f"precision is {asked!r}; answers are computed in {', '.join(known)}")
    return choose_precision(look(device)) if asked == AUTO else Choice(asked, _ASKED)


def _precision(
    cfg: "DictConfig", trainer: Mapping[str, Any], model: Mapping[str, Any], machine: Machine, alone: bool
) -> Choice:
    asked = trainer.get("precision", "32-true")
    if asked != AUTO:
        return Choice(asked, _ASKED)
    if (path := _resumes_from(cfg)) is not None and (kept := read_checkpoint(path).get("vtb", {}).get("precision")):
        return Choice(kept, f"the run that goes on from {path} has it")
    folder = local_folder(str(model.get("pretrained_llm", "")))
    return choose_precision(machine, parameter_count(folder) if folder else None, alone)


def _attention(model: Mapping[str, Any], machine: Machine, precision: Choice) -> Choice:
    asked = model.get("attn_implementation") or AUTO
    return Choice(asked, _ASKED) if asked != AUTO else choose_attention(machine, is_half(precision.value))


def _ranks_here(trainer: Mapping[str, Any], device: str) -> int:
    if (given := os.environ.get("LOCAL_WORLD_SIZE", "")).isdecimal():
        return int(given)
    asked = trainer.get("devices", AUTO)
    if device != "cpu" and asked in (AUTO, -1, "-1"):
        import torch

        return max(1, torch.cuda.device_count())
    return len(asked) if hasattr(asked, "__len__") and not isinstance(asked, str) else _number(asked)


def _number(value: Any) -> int:
    text = str(value)
    return max(1, int(text)) if text.isdecimal() else 1


def _resumes_from(cfg: "DictConfig") -> Path | None:
    """The checkpoint that NeMo's exp_manager will go on from, where it is told to."""
    manager = cfg.get("exp_manager") or {}
    if manager.get("resume_from_checkpoint"):
        path = Path(str(manager["resume_from_checkpoint"]))
        return path if path.is_file() else None
    if not manager.get("resume_if_exists"):
        return None
    folder = manager.get("explicit_log_dir") or Path(
        str(manager.get("exp_dir") or "nemo_experiments"), str(manager.get("name") or "default")
    )
    found = [path for path in Path(str(folder)).rglob("*last.ckpt") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)
