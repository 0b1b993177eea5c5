"""Cross-entropy at supervised positions only, in chunks whose logits are recomputed in the backward pass.

A 256k vocabulary makes logits the largest tensor of a step; here no more than one chunk of them exists at a time.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint


def supervised_losses(
    hidden: Tensor, targets: Tensor, project: Callable[[Tensor], Tensor], chunk: int = 2048
) -> tuple[Tensor, Tensor]:
    """Computes the loss of each target.

    Args:
        hidden: ``(S, H)`` hidden states that predict the targets.
        targets: ``(S,)`` token ids.
        project: The LLM's head: ``(s, H)`` to ``(s, vocabulary)``.
        chunk: Positions projected at a time.

    Returns:
        Float32 losses ``(S,)`` and, without gradient, whether the most likely token was right, ``(S,)`` bool.
    """
    if not len(targets):
        # The head still runs, so that under sharding every rank takes part in its collectives; ``hidden`` ties the
        # layers below into the graph, so that every trainable parameter gets its gradient of zero.
        nothing = (project(hidden.new_zeros(1, hidden.shape[-1])).float().sum() + hidden.float().sum()) * 0
        return nothing.expand(0), targets.bool()

    def one_chunk(hidden_part: Tensor, target_part: Tensor) -> tuple[Tensor, Tensor]:
        logits = project(hidden_part).float()
        return cross_entropy(logits, target_part, reduction="none"), logits.detach().argmax(-1).eq(target_part)

    if len(targets) <= chunk:
        return one_chunk(hidden, targets)
    parts = [
        checkpoint(one_chunk, hidden_part, target_part, use_reentrant=False)
        for hidden_part, target_part in zip(hidden.split(chunk), targets.split(chunk), strict=True)
    ]
    losses, hits = zip(*parts, strict=True)
    return torch.cat(losses), torch.cat(hits)


def global_mean(losses: Tensor) -> Tensor:
    """Averages over the supervised tokens of all ranks, so that a token weighs the same wherever it stands.

    Data parallelism averages gradients over ranks; the sum is therefore scaled by ranks over global tokens.

    Args:
        losses: ``(S,)`` of this rank.
    """
    count = torch.tensor(float(len(losses)), device=losses.device)
    world = 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        world = torch.distributed.get_world_size()
        torch.distributed.all_reduce(count)
    return losses.sum() * (world / count.clamp(min=1.0))


@torch.no_grad()
def by_kind(values: Tensor, owners: Tensor, kinds: list[str]) -> dict[str, tuple[float, int]]:
    """Sums per kind: ``{kind: (sum of values, number of tokens)}`` for the kinds that occur.

    Args:
        values: ``(S,)``.
        owners: ``(S,)`` conversation of each value.
        kinds: Kind of each conversation.
    """
    names = sorted(set(kinds))
    kind_of = torch.tensor([names.index(kind) for kind in kinds], device=owners.device)[owners]
    sums = torch.zeros(len(names), device=values.device).index_add_(0, kind_of, values.float())
    counts = torch.zeros(len(names), device=values.device).index_add_(0, kind_of, torch.ones_like(values.float()))
    both = torch.stack([sums, counts]).tolist()
    return {name: (both[0][i], int(both[1][i])) for i, name in enumerate(names) if both[1][i]}
