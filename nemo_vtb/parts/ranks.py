"""What ranks tell each other; in a single process everything is as if there were one rank."""

import os
from typing import Any

import torch
from torch import Tensor

from nemo_vtb.errors import VTBError

_sharing = 1


def check_started(tensor_parallel: int | None, option: str) -> None:
    """Refuses a command that torchrun has started several times over and that nothing divides among them.

    Args:
        tensor_parallel: Ranks over which the LLM is to be cut.
        option: How one says that, with the number to be filled in; empty where one cannot.

    Raises:
        VTBError: Says how to start it.
    """
    ranks = int(os.environ.get("WORLD_SIZE", 1)) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if ranks in (1, tensor_parallel):
        return
    divided = f"say {option.format(ranks)} to cut the LLM over them, or " if option else ""
    raise VTBError(f"torchrun started this command {ranks} times, and each would do all of it: {divided}start it once")


def check_joined(trainer: Any) -> None:
    """Refuses processes of torchrun that would each train a run of their own, and warns of those of srun.

    Lightning asks a launcher for its ranks only where the trainer has more than one device or node. Tasks of srun may
    be meant to train runs of their own.

    Args:
        trainer: Lightning's.

    Raises:
        VTBError: Says what to set.
    """
    if trainer.world_size > 1:
        return
    remedy = "trainer.devices (processes of a node) and trainer.num_nodes make one run of them"
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise VTBError(
            f"{os.environ['WORLD_SIZE']} processes were started, and with trainer.devices={trainer.num_devices}, "
            f"trainer.num_nodes={trainer.num_nodes} each would train the whole run by itself, into the same folder: "
            f"{remedy}; so does +cluster=slurm in a job of vtb launch slurm"
        )
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "1") if "SLURM_STEP_ID" in os.environ else "1"
    if int(tasks) > 1:
        from nemo.utils import logging
        from nemo.utils.nemo_logging import LogMode

        logging.warning(
            f"nemo_vtb: srun started {tasks} tasks, of which each trains a run of its own; {remedy}", mode=LogMode.ONCE
        )


def logs_now(trainer: Any, step: int) -> bool:
    """Whether a step is one that goes to the loggers; with ``trainer.log_every_n_steps=0`` none is."""
    return bool(trainer.log_every_n_steps) and step % trainer.log_every_n_steps == 0


def share_batches(ranks: int) -> None:
    """Says that so many neighbouring ranks read the same batches, because they hold one LLM between them."""
    global _sharing
    _sharing = ranks


def world_size() -> int:
    """Number of ranks that read batches of their own; those that share batches count as one."""
    return torch.distributed.get_world_size() // _sharing if _distributed() else 1


def data_rank() -> int:
    """Which of them this one is."""
    return torch.distributed.get_rank() // _sharing if _distributed() else 0


def of_data_ranks(everybody: list[Any]) -> list[Any]:
    """Of a list with something of every rank, that of ranks with batches of their own."""
    return everybody[::_sharing]


def all_ranks_sum(count: int, device: torch.device) -> Tensor:
    """Adds a count up over all ranks, of those that share batches once: an int64 scalar on ``device``."""
    total = torch.tensor(count, dtype=torch.long, device=device)
    if _distributed():
        torch.distributed.all_reduce(total)
        total //= _sharing
    return total


def several() -> bool:
    """Whether there are other ranks."""
    return _distributed() and torch.distributed.get_world_size() > 1


def is_first() -> bool:
    """Whether this is the rank that speaks and writes for all."""
    return not _distributed() or torch.distributed.get_rank() == 0


def said_by_first(value: Any) -> Any:
    """The first rank's value on every rank."""
    if not _distributed():
        return value
    said = [value]
    torch.distributed.broadcast_object_list(said, src=0)
    return said[0]


def take_first_s(tensor: Tensor) -> None:
    """Makes a tensor on all ranks that of the first, in place."""
    if _distributed():
        torch.distributed.broadcast(tensor, src=0)


def true_on_all_ranks(flag: Tensor) -> bool:
    """Whether a bool scalar is true everywhere."""
    held = flag.to(torch.int32)
    if _distributed():
        torch.distributed.all_reduce(held, torch.distributed.ReduceOp.MIN)
    return bool(held.item())


def all_ranks_list(items: list[str]) -> list[str]:
    """Joins a list of every rank, rank 0 first; of those that share batches, one's."""
    return [item for part in said_by_all(items) for item in part]


def said_by_all(value: Any) -> list[Any]:
    """Every rank's value, rank 0 first; of those that share batches, one's."""
    if not _distributed():
        return [value]
    said: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(said, value)
    return of_data_ranks(said)


def own_part(tensor: Tensor) -> Tensor:
    """This rank's shard of a sharded tensor; any other tensor itself."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
