"""Checkpoint files that are whole or absent, and that load without running code."""

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line
from nemo_vtb.whole_files import write_text

# How far a run is, ``step max_steps``, beside its last checkpoint, where a shell can read it; of one that is over, both
# are the step at which it ended.
_PROGRESS = "progress"
# What every checkpoint of a run has, and weights alone have not.
_OF_RUN = "global_step"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, flushes to disk, then renames: a kill at any moment leaves the previous file.

    Lightning 2.4 writes to the system's temporary folder and copies from there, which a kill can leave half done.
    """

    _progress_in: Path | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes a checkpoint; a remote path (``scheme://``) goes the way Lightning has for it.

        Raises:
            VTBError: If the disk is full or the folder cannot be written to.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        partial = target.with_name(f".{target.name}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
            _flush_folder(target.parent)
        except OSError as error:
            raise VTBError(f"cannot write the checkpoint {target}: {error.strerror or error}") from error
        if target.name.endswith("last.ckpt"):
            _write_progress(target.parent, checkpoint["global_step"], checkpoint.get("vtb", {}).get("max_steps", -1))
            self._progress_in = target.parent

    def run_is_over(self) -> None:
        """Notes that the last checkpoint is the run's last: epochs, time and early stops end it before its steps do."""
        if self._progress_in is not None:
            step, _ = read_progress(self._progress_in)
            _write_progress(self._progress_in, step, step)

    def load_checkpoint(self, path: str | Path, map_location: Any | None = None) -> dict[str, Any]:
        """Maps a checkpoint into memory; only plain data and tensors are accepted.

        Raises:
            VTBError: If it is missing, broken, holds anything else or is not of a run.
        """
        if "://" in str(path):
            return super().load_checkpoint(path, map_location)
        checkpoint = read_checkpoint(path)
        if not isinstance(checkpoint, dict) or _OF_RUN not in checkpoint:
            raise VTBError(
                f"{path} is not a checkpoint that a run has written: it lacks its steps, optimizer and settings. "
                "vtb goes on from a run's own files alone"
            )
        return checkpoint


def use_atomic_checkpoints(strategy: Any) -> None:
    """Has a Lightning strategy write each checkpoint as one file, in one move.

    Lightning's ModelParallelStrategy writes a folder of shards by default, over the previous one.
    """
    from lightning.pytorch.strategies import ModelParallelStrategy
    from nemo.utils import logging

    if isinstance(strategy.checkpoint_io, AtomicCheckpointIO):
        return
    strategy.checkpoint_io = AtomicCheckpointIO()
    if isinstance(strategy, ModelParallelStrategy):
        strategy._save_distributed_checkpoint = False
    logging.info(f"nemo_vtb: {type(strategy).__name__} writes checkpoints as one file, atomically")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Maps a checkpoint file into memory.

    Raises:
        VTBError: If it is missing, broken or holds anything but plain data and tensors.
    """
    if not Path(path).is_file():
        raise VTBError(f"no checkpoint at {path}")
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise VTBError(
            f"{path} holds more than tensors and plain data, so reading it could run code: {first_line(error)}. "
            "If you trust it, set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1."
        ) from error
    except Exception as error:
        raise VTBError(f"{path} is not a checkpoint or is damaged: {first_line(error)}") from error


def read_progress(folder: Path) -> tuple[int, int]:
    """Returns the ``(step, max_steps)`` of a run's folder of checkpoints; ``(0, -1)`` where nothing was saved yet."""
    path = folder / _PROGRESS
    if not path.is_file():
        return 0, -1
    step, max_steps = path.read_text(encoding="ascii").split()
    return int(step), int(max_steps)


def _write_progress(folder: Path, step: int, max_steps: int) -> None:
    write_text(folder / _PROGRESS, f"{step} {max_steps}\n")


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
