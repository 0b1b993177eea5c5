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
