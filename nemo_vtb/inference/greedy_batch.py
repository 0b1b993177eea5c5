"""Greedy answers to many prompts at once: what prompts begin with alike is read once, and who has ended leaves."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nemo_vtb.inference.session.caches import bears_gaps, can_be_cut, new_cache, side_by_side, without_rows
from nemo_vtb.inference.session.kept import shared_start
from nemo_vtb.models.answers.generate import Prompt, left_padded
from nemo_vtb.modules.llm.parts import text_config
from nemo_vtb.parts.encode import sub_batches

if TYPE_CHECKING:
    from nemo_vtb.modules.backbone import HFBackbone

# For the grouping of prompts: what a call of the LLM costs is four of these.
_UNIT = 16
_POSITIONS_AT_ONCE = 8192
# Fewer positions are not worth two calls.
_LEAST_SHARED = 4
# Rows are set anew where this share of them has ended.
_ENDED = 0.2


def answers_together(backbone: "HFBackbone") -> bool:
    """Whether ``greedy_answers`` says what ``HFBackbone.generate`` would.

    Not where the LLM cannot be padded, has a running state, or is cut over ranks.
    """
    return not backbone.tensor_parallel and backbone.pads and can_be_cut(backbone)


def bytes_a_position(backbone: "HFBackbone") -> int:
    """What keys and values of one position take."""
    config = text_config(backbone.causal_lm)
    heads = config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    held = getattr(config, "num_key_value_heads", None) or heads
    return 2 * config.num_hidden_layers * held * width * backbone.table.weight.element_size()


@torch.no_grad()
def greedy_answers(
    backbone: "HFBackbone",
    prompts: Sequence[Prompt],
    limits: Sequence[int],
    stops: Collection[int],
    gate: Tensor | None = None,
) -> list[list[int]]:
    """Answers prompts, where ``answers_together``.

    Args:
        backbone: The LLM.
        prompts: Any number that memory holds.
        limits: Most new tokens of each.
        stops: Ids that end an answer and are no part of it.
        gate: ``(1, 1, 1)``, see ``HFBackbone.generate``.

    Returns:
        New token ids of each prompt.
    """
    order, cache, mask, hidden = _read(backbone, prompts, gate)
    written: list[list[int]] = [[] for _ in prompts]
    going = list(range(len(order)))
    while True:
        chosen = backbone.project(hidden).float().argmax(-1)
        tokens, before = chosen.tolist(), going
        going = []
        for row in before:
            said = written[order[row]]
            if tokens[row] not in stops:
                said.append(tokens[row])
                if len(said) < limits[order[row]]:
                    going.append(row)
        if not going:
            return written
        if len(going) <= (1 - _ENDED) * len(order):
            cache, mask = without_rows(cache, mask, going, backbone)
            order, chosen = [order[row] for row in going], chosen[going]
            going = list(range(len(order)))
        mask = torch.cat([mask, mask.new_ones(len(order), 1)], dim=1)
        hidden = backbone.next_hidden_states(backbone.embed(chosen)[:, None], mask, cache, chosen[:, None], gate)


class _Fed(NamedTuple):
    """Rows of a cache; ``order`` says whose each is, ``hidden`` ``(rows, H)`` is of their last position."""

    order: list[int]
    cache: Any
    mask: Tensor
    hidden: Tensor


def shared_starts(keys: Sequence[np.ndarray]) -> list[tuple[list[int], int]]:
    """Groups prompts so that reading once what each group begins with saves most.

    Args:
        keys: ``(positions,)`` of each prompt; equal numbers stand for equal positions.

    Returns:
        For each group its prompts, and how many positions they share: 0 for a prompt by itself. Every prompt keeps at
        least one position of its own.
    """
    order = sorted(range(len(keys)), key=lambda number: keys[number].tolist())
    groups = [([order[0]], 0)]
    for before, now in pairwise(order):
        rows, length = groups[-1]
        common = shared_start(keys[before], keys[now][:-1])
        common = min(common, length) if len(rows) > 1 else min(common, len(keys[before]) - 1)
        if len(rows) * common >= max((len(rows) - 1) * length, _LEAST_SHARED):
            groups[-1] = ([*rows, now], common)
        else:
            groups.append(([now], 0))
    return groups


def _read(
    backbone: "HFBackbone", prompts: Sequence[Prompt], gate: Tensor | None
) -> tuple[list[int], Any, Tensor, Tensor]:
    starts: list[int] = [0] * len(prompts)
    blocks: list[_Fed] = []
    if bears_gaps(backbone):
        groups = [group for group in shared_starts([prompt.keys for prompt in prompts]) if group[1]]
        pieces = [(prompts[rows[0]].embeds[:length], prompts[rows[0]].ids[:length]) for rows, length in groups]
        for found in _fed(backbone, pieces, [], gate):
            owned = [(row, place) for place, number in enumerate(found.order) for row in groups[number][0]]
            for row, place in owned:
                starts[row] = groups[found.order[place]][1]
            cache, mask = without_rows(found.cache, found.mask, [place for _, place in owned], backbone)
            blocks.append(_Fed([row for row, _ in owned], cache, mask, found.hidden))
    pieces = [(prompt.embeds[start:], prompt.ids[start:]) for prompt, start in zip(prompts, starts, strict=True)]
    read = _fed(backbone, pieces, blocks, gate)
    cache, mask = side_by_side([part.cache for part in read], [part.mask for part in read], backbone)
    return [row for part in read for row in part.order], cache, mask, torch.cat([part.hidden for part in read])


def _fed(
    backbone: "HFBackbone", pieces: Sequence[tuple[Tensor, Tensor]], pasts: Sequence[_Fed], gate: Tensor | None
) -> list[_Fed]:
    """Feeds pieces of embeddings and ids, those of like length together, each behind its row of ``pasts`` if any."""
    found = []
    lengths = [len(ids) / _UNIT for _, ids in pieces]
    for group in sub_batches(lengths, _POSITIONS_AT_ONCE / _UNIT):
        left = set(group)
        order, caches, masks = [], [], []
        for past in pasts:
            if own := [(row, place) for place, row in enumerate(past.order) if row in left]:
                cache, mask = without_rows(past.cache, past.mask, [place for _, place in own], backbone)
                order += [row for row, _ in own]
                caches.append(cache)
                masks.append(mask)
        if alone := sorted(left.difference(order)):
            order += alone
            caches.append(new_cache(backbone))
            masks.append(torch.zeros(len(alone), 0, dtype=torch.long, device=backbone.device))
        cache, mask = side_by_side(caches, masks, backbone)
        embeds, new, ids = left_padded([pieces[row] for row in order], backbone.per_layer.pad)
        mask = torch.cat([mask, new], dim=1)
        found.append(_Fed(order, cache, mask, backbone.next_hidden_states(embeds, mask, cache, ids, gate)))
    return found
