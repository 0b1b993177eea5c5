"""Cross-entropy at supervised positions only, a chunk of them at a time.

A 256k vocabulary makes logits the largest tensor of a step; here no more than one chunk of them exists at a time. Where
the head is frozen, as LoRA has it, a chunk's gradient for its hidden states is taken at once and the logits are gone
before the next chunk; where it trains, the backward pass computes them again.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from nemo_vtb.parts.ranks import all_ranks_sum, world_size

Project = Callable[[Tensor], Tensor]
PerPosition = Callable[..., tuple[Tensor, ...]]


def supervised_losses(
    hidden: Tensor, targets: Tensor, project: Project, chunk: int = 1024, head_trains: bool = True
) -> tuple[Tensor, Tensor]:
    """Computes the loss of each target.

    Args:
        hidden: ``(S, H)`` hidden states that predict the targets.
        targets: ``(S,)`` token ids.
        project: The LLM's head: ``(s, H)`` to ``(s, vocabulary)``.
        chunk: Positions projected at a time.
        head_trains: Whether a gradient flows into the head itself.

    Returns:
        Float32 losses ``(S,)`` and, without gradient, whether the most likely token was right, ``(S,)`` bool.
    """

    def one_chunk(hidden_part: Tensor, target_part: Tensor) -> tuple[Tensor, Tensor]:
        logits = project(hidden_part).float()
        return cross_entropy(logits, target_part, reduction="none"), logits.detach().argmax(-1).eq(target_part)

    if not len(targets):
        # The head still runs, so that a trained head gets its gradient of zero; ``hidden`` ties the layers below into
        # the graph, so that every trainable parameter does.
        nothing = (project(hidden.new_zeros(1, hidden.shape[-1])).float().sum() + hidden.float().sum()) * 0
        return nothing.expand(0), targets.bool()
    losses, hits = in_chunks(one_chunk, hidden, targets, chunk=chunk, head_trains=head_trains)
    return losses, hits


def in_chunks(
    function: PerPosition, hidden: Tensor, beside: Tensor, *, chunk: int, head_trains: bool
) -> tuple[Tensor, ...]:
    """Runs a function of the logits over chunks of positions, no more than one chunk's logits in memory.

    Args:
        function: ``(s, H)`` hidden states and ``(s, ...)`` of ``beside`` to ``(s,)`` values, and to others without
            gradient. A value may depend on its own position's hidden state alone.
        hidden: ``(S, H)``, S > 0.
        beside: ``(S, ...)``, no gradient.
        chunk: Positions at a time.
        head_trains: Whether a gradient flows into what ``function`` holds.
    """
    parts = zip(hidden.split(chunk), beside.split(chunk), strict=True)
    if not torch.is_grad_enabled() or not (head_trains or hidden.requires_grad):
        done = [function(*part) for part in parts]
    elif head_trains:
        done = [checkpoint(function, *part, use_reentrant=False) for part in parts]
    else:
        done = [_GradientAtOnce.apply(*part, function) for part in parts]
    return tuple(torch.cat(column) for column in zip(*done, strict=True))


class _GradientAtOnce(torch.autograd.Function):
    """Keeps ``d value / d hidden`` of each position, ``(s, H)``, instead of the logits, ``(s, vocabulary)``."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, beside: Tensor, function: PerPosition) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            leaf = hidden.detach().requires_grad_()
            values, *others = function(leaf, beside)
            # Each value depends on its own position alone: the gradient of the sum holds each one's own.
            (gradient,) = torch.autograd.grad(values.sum(), leaf)
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(*others)
        return values.detach(), *others

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grad_outputs[0][:, None]).to(gradient.dtype), None, None


def global_mean(losses: Tensor, tokens: Tensor | None = None) -> Tensor:
    """Averages over the supervised tokens of all ranks, so that a token weighs the same wherever it stands.

    Data parallelism averages gradients over ranks; the sum is therefore scaled by ranks over global tokens.

    Args:
        losses: ``(S,)`` of this rank.
        tokens: Number of losses on all ranks, where it is known already.
    """
    tokens = all_ranks_sum(len(losses), losses.device) if tokens is None else tokens
    return losses.sum() * (world_size() / tokens.clamp(min=1).to(losses.dtype))


@torch.no_grad()
def by_kind(values: Tensor, owners: Tensor, kinds: list[str]) -> dict[str, tuple[Tensor, int]]:
    """Sums per kind: ``{kind: (sum of values, number of tokens)}`` for the kinds that occur.

    Args:
        values: ``(S,)``.
        owners: ``(S,)`` conversation of each value, on the host: no device waits for the counts.
        kinds: Kind of each conversation.

    Returns:
        Sums are float32 scalars on the device of ``values``.
    """
    names = sorted(set(kinds))
    kind_of = torch.tensor([names.index(kind) for kind in kinds])[owners]
    counts = torch.bincount(kind_of, minlength=len(names)).tolist()
    sums = torch.zeros(len(names), dtype=torch.float32, device=values.device)
    sums.index_add_(0, kind_of.to(values.device, non_blocking=True), values.float())
    return {name: (sums[i], counts[i]) for i, name in enumerate(names) if counts[i]}
