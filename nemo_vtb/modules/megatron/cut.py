"""Which part of a tensor a rank of tensor parallelism holds, and how the parts make the whole again.

megatron-core's fused matrix of queries, keys and values has them group by group, each rank a run of its rows; that of
gate and up projection has both halves on every rank. Of LoRA, the factor on the cut side is cut likewise, the other one
is whole on every rank.
"""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from nemo_vtb.modules.megatron.families import head_size

# What LoRA adapts: the paper's four.
TARGETS = ("linear_qkv", "linear_proj", "linear_fc1", "linear_fc2")
_FACTOR = re.compile(rf"\.({'|'.join(TARGETS)})\.lora_([AB])\.")


class Cut(Enum):
    """How a tensor is cut: its rows, the rows of both its halves, its columns, or not at all."""

    ROWS = "rows"
    HALVES = "halves"
    COLUMNS = "columns"
    WHOLE = "whole"


_CUTS = {
    ("linear_qkv", "B"): Cut.ROWS,
    ("linear_fc1", "B"): Cut.HALVES,
    ("linear_proj", "A"): Cut.COLUMNS,
    ("linear_fc2", "A"): Cut.COLUMNS,
}


def cut_of(name: str) -> Cut:
    """How the parameter of this name is cut; what is not LoRA's is whole."""
    found = _FACTOR.search(name)
    return _CUTS.get((found[1], found[2]), Cut.WHOLE) if found else Cut.WHOLE


def span(length: int, rank: int, size: int) -> tuple[int, int]:
    """First and last but one of ``length`` things that a rank holds."""
    return length * rank // size, length * (rank + 1) // size


def own_part(whole: Tensor, cut: Cut, rank: int, size: int) -> Tensor:
    """What a rank holds of a tensor."""
    if cut is Cut.WHOLE or not whole.dim():
        return whole
    if cut is Cut.COLUMNS:
        return whole[:, slice(*span(whole.shape[1], rank, size))].contiguous()
    if cut is Cut.HALVES:
        return torch.cat([half[slice(*span(len(half), rank, size))] for half in whole.chunk(2)])
    return whole[slice(*span(len(whole), rank, size))].contiguous()


def joined(parts: Sequence[Tensor], cut: Cut) -> Tensor:
    """The tensor of which these are the ranks' parts."""
    if cut is Cut.WHOLE or not parts[0].dim():
        return parts[0]
    if cut is Cut.COLUMNS:
        return torch.cat(list(parts), 1)
    if cut is Cut.HALVES:
        halves = [part.chunk(2) for part in parts]
        return torch.cat([half[side] for side in (0, 1) for half in halves])
    return torch.cat(list(parts))


def fused_rows(config: Any, start: int = 0, stop: int | None = None) -> list[tuple[str, int, int]]:
    """Rows of the fused matrix as rows of Hugging Face's.

    Args:
        config: Of the LLM.
        start: First row of the fused matrix.
        stop: Last but one; None is the end.

    Returns:
        ``(part, first, last but one)`` in the fused order, part being ``q``, ``k`` or ``v``.
    """
    width, groups = head_size(config), config.num_key_value_heads
    of_group = (("q", width * config.num_attention_heads // groups), ("k", width), ("v", width))
    stop = sum(wide for _, wide in of_group) * groups if stop is None else stop
    at, rows = 0, []
    for group in range(groups):
        for part, wide in of_group:
            low, high = max(start, at), min(stop, at + wide)
            if low < high:
                rows.append((part, group * wide + low - at, group * wide + high - at))
            at += wide
    return rows
