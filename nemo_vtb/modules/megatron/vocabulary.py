"""Both ends of the LLM with the vocabulary cut over the ranks: table, head, cross-entropy, hits and divergence.

No rank ever has the logits of all tokens where losses are computed: what they need of the other ranks is a maximum, a
sum and the target's logit for each position.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from nemo_vtb.modules.megatron.groups import tensor_group


class VocabTable(nn.Module):
    """The embedding table, rows of the vocabulary on each rank, behind what Hugging Face's table multiplies by.

    Args:
        config: Of the LLM.
        made_for: megatron-core's config.
        scale: What embeddings are multiplied by (Gemma).
    """

    def __init__(self, config: Any, made_for: Any, scale: float) -> None:
        from megatron.core.tensor_parallel import VocabParallelEmbedding

        super().__init__()
        self._rows = [VocabParallelEmbedding(config.vocab_size, config.hidden_size, init_method=_none, config=made_for)]
        self.weight = self._rows[0].weight
        self.num_embeddings, self.embedding_dim = config.vocab_size, config.hidden_size
        self.scalar_embed_scale = scale

    def forward(self, ids: Tensor) -> Tensor:
        """Ids of any shape to embeddings, whole on every rank."""
        table = self._rows[0]
        # Lightning moves and casts what is registered: this module's parameter.
        table.weight = self.weight
        embeds = table(ids)
        if self.scalar_embed_scale == 1.0:
            return embeds
        return embeds * torch.tensor(self.scalar_embed_scale, device=embeds.device).to(self.weight.dtype)


class VocabHead(nn.Module):
    """The head, rows of the vocabulary on each rank.

    Args:
        config: Of the LLM.
        made_for: megatron-core's config.
        table: Whose weights it has too; None where it has its own.
    """

    def __init__(self, config: Any, made_for: Any, table: VocabTable | None) -> None:
        from megatron.core.tensor_parallel import ColumnParallelLinear

        super().__init__()
        self.linear = ColumnParallelLinear(
            config.hidden_size,
            config.vocab_size,
            config=made_for,
            init_method=_none,
            bias=False,
            skip_weight_param_allocation=table is not None,
        )
        # It is given single positions, never a part of a row.
        self.linear.sequence_parallel = False
        self.linear.allreduce_dgrad = self.linear.tp_group.size() > 1
        # Unregistered, as Transformers has tied weights: they are the table's.
        self._table = [table]

    def part(self, hidden: Tensor) -> Tensor:
        """Hidden states ``(..., H)`` to the logits of this rank's tokens ``(..., vocabulary / ranks)``."""
        table = self._table[0]
        return self.linear(hidden.contiguous(), weight=None if table is None else table.weight)[0]

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states ``(..., H)`` to the logits of all tokens, the same on every rank."""
        return _Joined.apply(self.part(hidden))


class _Joined(torch.autograd.Function):
    """Parts of the vocabulary to the whole; every rank goes on alike, so each takes its own part of the gradient."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        group = tensor_group()
        ctx.own = slice(group.rank() * part.shape[-1], (group.rank() + 1) * part.shape[-1])
        return torch.cat(gathered(part), -1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0][..., ctx.own].contiguous()


def gathered(own: Tensor) -> list[Tensor]:
    """The tensors of all ranks of the group, in order."""
    group = tensor_group()
    if group.size() == 1:
        return [own]
    parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(group.size())]
    torch.distributed.all_gather(parts, own.contiguous(), group=group)
    return parts


def losses_and_hits(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each target, and whether the most likely token was right.

    Args:
        logits: ``(s, vocabulary / ranks)`` float32 of this rank's tokens.
        targets: ``(s,)`` token ids of the whole vocabulary.

    Returns:
        ``(s,)`` float32 losses, the same on every rank, and ``(s,)`` bool without gradient.
    """
    first = tensor_group().rank() * logits.shape[-1]
    own = targets - first
    mine = (own >= 0) & (own < logits.shape[-1])
    picked = logits.gather(1, own.clamp(0, logits.shape[-1] - 1)[:, None])[:, 0]
    target = _summed(torch.where(mine, picked, 0.0))
    return _log_normaliser(logits) - target, _most_likely(logits.detach(), first).eq(targets)


def divergence(tuned: Tensor, base: Tensor) -> Tensor:
    """KL(base || tuned) ``(s,)``.

    Args:
        tuned: ``(s, vocabulary / ranks)`` float32 logits of this rank's tokens.
        base: Likewise, without gradient.
    """
    log_base = base - _log_normaliser(base)[:, None]
    shares = log_base.exp()
    # The shares of all ranks add up to one: the normaliser of the tuned logits is whole on every rank and stays out.
    return _summed((shares * (log_base - tuned)).sum(-1)) + _log_normaliser(tuned)


def _log_normaliser(logits: Tensor) -> Tensor:
    peak = logits.detach().amax(-1)
    torch.distributed.all_reduce(peak, torch.distributed.ReduceOp.MAX, group=tensor_group())
    return peak + _summed((logits - peak[:, None]).exp().sum(-1)).log()


def _summed(values: Tensor) -> Tensor:
    """The sum over the ranks; each rank's part gets the gradient of the sum."""
    from megatron.core.tensor_parallel import reduce_from_tensor_model_parallel_region

    return reduce_from_tensor_model_parallel_region(values, group=tensor_group())


def _most_likely(logits: Tensor, first: int) -> Tensor:
    value, place = logits.max(-1)
    values, places = torch.stack(gathered(value)), torch.stack(gathered(place + first))
    return places.gather(0, values.argmax(0, keepdim=True))[0]


def embedding_deviation(table: VocabTable) -> Tensor:
    """Standard deviation of all that the table holds, times its scale: a float32 scalar, the same on every rank."""
    weight = table.weight.detach()
    if tensor_group().size() == 1:
        return (weight.float() * table.scalar_embed_scale).std()
    moments = torch.stack([weight.float().sum(), weight.float().pow(2).sum()]).double()
    torch.distributed.all_reduce(moments, group=tensor_group())
    count = table.num_embeddings * table.embedding_dim
    spread = moments[1] - moments[0] ** 2 / count
    return (spread / (count - 1)).sqrt().float() * math.fabs(table.scalar_embed_scale)


def _none(weight: Tensor) -> None:
    """Weights are read, not drawn."""
