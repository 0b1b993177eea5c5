"""Greedy decoding in which all ranks take every step together, so that it works on sharded weights too."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nemo_vtb.parts.ranks import true_on_all_ranks

if TYPE_CHECKING:
    from nemo_vtb.modules.backbone import HFBackbone


@torch.no_grad()
def greedy_replies(
    backbone: "HFBackbone",
    embeds: Tensor,
    attention_mask: Tensor,
    limit: int,
    stops: Collection[int],
    ids: Tensor | None = None,
) -> list[list[int]]:
    """Answers left-padded prompts; ``HFBackbone.generate`` cannot run where FSDP2 holds the weights.

    Every rank must call it equally often, with any prompts. LoRA is on everywhere, or off in ``without_lora``.

    Args:
        backbone: The LLM.
        embeds: ``(B, T, H)``.
        attention_mask: int64 ``(B, T)``.
        limit: Most new tokens.
        stops: Ids that end an answer and are no part of it.
        ids: ``(B, T)`` of the prompts, where ``backbone.per_layer.wanted``.

    Returns:
        New token ids of each prompt.
    """
    from transformers import DynamicCache

    if not backbone.pads and not attention_mask.all():
        replies = []
        for row, mask in enumerate(attention_mask):
            own, start = slice(row, row + 1), int(mask.argmax())
            one = None if ids is None else ids[own, start:]
            replies += greedy_replies(backbone, embeds[own, start:], attention_mask[own, start:], limit, stops, one)
        return replies
    ends = torch.tensor(sorted(stops), device=embeds.device)
    written: list[list[int]] = [[] for _ in embeds]
    done = torch.zeros(len(embeds), dtype=torch.bool, device=embeds.device)
    cache = DynamicCache(config=backbone.causal_lm.config) if backbone.caches else None
    for _ in range(limit):
        hidden = backbone.next_hidden_states(embeds, attention_mask, cache, ids)
        chosen = backbone.project(hidden).float().argmax(-1)
        done |= torch.isin(chosen, ends)
        for row, (token, ended) in enumerate(zip(chosen.tolist(), done.tolist(), strict=True)):
            if not ended:
                written[row].append(token)
        if true_on_all_ranks(done.all()):
            break
        said, spelt = backbone.embed(chosen)[:, None], chosen[:, None]
        if cache is None:
            said, spelt = torch.cat([embeds, said], 1), spelt if ids is None else torch.cat([ids, spelt], 1)
        embeds, ids = said, spelt
        attention_mask = torch.cat([attention_mask, attention_mask.new_ones(len(chosen), 1)], dim=1)
    return written
