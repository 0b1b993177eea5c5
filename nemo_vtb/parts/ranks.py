"""What ranks tell each other; in a single process everything is as if there were one rank."""

import torch
from torch import Tensor


def world_size() -> int:
    """Number of ranks."""
    return torch.distributed.get_world_size() if _distributed() else 1


def all_ranks_sum(count: int, device: torch.device) -> Tensor:
    """Adds a count up over all ranks: an int64 scalar on ``device``."""
    total = torch.tensor(count, dtype=torch.long, device=device)
    if _distributed():
        torch.distributed.all_reduce(total)
    return total


def true_on_all_ranks(flag: Tensor) -> bool:
    """Whether a bool scalar is true everywhere."""
    held = flag.to(torch.int32)
    if _distributed():
        torch.distributed.all_reduce(held, torch.distributed.ReduceOp.MIN)
    return bool(held.item())


def all_ranks_list(items: list[str]) -> list[str]:
    """Joins a list of every rank, rank 0 first."""
    if not _distributed():
        return items
    gathered: list[list[str]] = [[] for _ in range(world_size())]
    torch.distributed.all_gather_object(gathered, items)
    return [item for part in gathered for item in part]


def own_part(tensor: Tensor) -> Tensor:
    """This rank's shard of a sharded tensor; any other tensor itself."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
