"""Cross-entropy at supervised positions only, a chunk of them at a time.

A 256k vocabulary makes logits the largest tensor of a step; here no more than one chunk of them exists at a time. Where
the head is frozen, as LoRA has it, a chunk's gradient for its hidden states is taken at once and the logits are gone
before the next chunk; where it trains, the backward pass computes them again.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from nemo_vtb.errors import VTBError
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


_PACKAGES = {"cut_cross_entropy": "cut-cross-entropy", "liger": "liger-kernel"}
_MODULES = {"cut_cross_entropy": "cut_cross_entropy", "liger": "liger_kernel"}


def check_backend(backend: str) -> None:
    """Refuses a loss backend whose package is absent.

    Raises:
        VTBError: Names the config key and the package.
    """
    if backend in _PACKAGES and find_spec(_MODULES[backend]) is None:
        raise VTBError(
            f"model.loss_backend={backend} needs the package {_PACKAGES[backend]}: pip install {_PACKAGES[backend]}, "
            "or set model.loss_backend=chunked"
        )


def fused_losses(backend: str, hidden: Tensor, weight: Tensor, targets: Tensor, softcap: float | None) -> Tensor:
    """Computes the loss of each target; both packages need Triton and a GPU (cut-cross-entropy has a way without).

    Args:
        backend: ``cut_cross_entropy`` or ``liger``.
        hidden: ``(S, H)``, S > 0.
        weight: The head, ``(vocabulary, H)``; taken in the dtype of ``hidden``, which is autocast's where that is on.
        targets: ``(S,)`` token ids.
        softcap: Bound of the logits (Gemma 2), or None.

    Returns:
        Float32 losses ``(S,)``.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    weight = weight.to(hidden.dtype)
    if backend == "liger":
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        losses = liger_fused_linear_cross_entropy(hidden, weight, targets, softcap=softcap, reduction="none")
        return losses.float()
    from cut_cross_entropy import linear_cross_entropy

    # Its own threshold drops small gradients of bfloat16 kernels; None keeps them all.
    options = {"filter_eps": None} if hidden.is_cuda else {"impl": "torch_compile"}
    return linear_cross_entropy(hidden, weight, targets, softcap=softcap, reduction="none", **options).float()
