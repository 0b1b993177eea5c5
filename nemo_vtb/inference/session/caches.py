"""Keys and values of rows that are answered together: set side by side, and taken apart again.

A row's positions need not be neighbours: what stands between them is padding, which the mask hides. Keys carry their
position in them, counted without padding, so that a row may be moved.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from nemo_vtb.modules.backbone import HFBackbone


def new_cache(backbone: "HFBackbone") -> Any:
    """An empty ``transformers.Cache``; layers that look at a window keep all of the past, so that it can be cut."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    cache = DynamicCache(config=backbone.causal_lm.config)
    if all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers):
        cache.layers = [DynamicLayer() for _ in cache.layers]
    return cache


def can_be_cut(backbone: "HFBackbone") -> bool:
    """Whether a past can be shortened and set beside others: there are keys and values and no running state."""
    from transformers.cache_utils import DynamicLayer

    return backbone.caches and all(type(layer) is DynamicLayer for layer in new_cache(backbone).layers)


def bears_gaps(backbone: "HFBackbone") -> bool:
    """Whether padding between a row's positions is not heard: a window of positions, or a distance, counts it in."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    layers = DynamicCache(config=backbone.causal_lm.config).layers
    return backbone.packing == "rows" and all(type(layer) is DynamicLayer for layer in layers)


def beginning(cache: Any, length: int, backbone: "HFBackbone") -> Any:
    """The first positions of a row as a cache of its own; the row stays as it is, and they share memory."""
    return _filled(backbone, [_each(layer, lambda kept: kept[..., :length, :]) for layer in cache.layers])


def side_by_side(caches: Sequence[Any], masks: Sequence[Tensor], backbone: "HFBackbone") -> tuple[Any, Tensor]:
    """Rows of several caches in one, padded in front.

    Args:
        caches: Of any number of rows each; an empty one counts.
        masks: int64 ``(rows, positions)`` of each.
        backbone: The LLM.

    Returns:
        A cache of all rows, and their mask.
    """
    longest = max(mask.shape[1] for mask in masks)
    mask = torch.cat([nn.functional.pad(mask, (longest - mask.shape[1], 0)) for mask in masks])
    if len(caches) == 1 or not longest:
        return caches[0], mask
    layers = []
    for number in range(len(caches[0].layers)):
        pairs = [(cache.layers[number].keys, cache.layers[number].values) for cache in caches]
        like = next((pair for pair in pairs if pair[0] is not None and pair[0].numel()), None)
        if like is None:
            layers.append((None, None))
            continue
        padded = [
            tuple(_in_front(kept, mask, longest, form) for kept, form in zip(pair, like, strict=True))
            for pair, mask in zip(pairs, masks, strict=True)
        ]
        layers.append((torch.cat([keys for keys, _ in padded]), torch.cat([values for _, values in padded])))
    return _filled(backbone, layers), mask


def without_rows(cache: Any, mask: Tensor, kept: Sequence[int], backbone: "HFBackbone") -> tuple[Any, Tensor]:
    """The rows ``kept`` alone, without the positions at which none of them has anything."""
    rows = torch.tensor(list(kept), device=mask.device)
    mask = mask[rows]
    used = torch.nonzero(mask.any(0))[:, 0]
    layers = [_each(layer, lambda held: held[rows][..., used, :]) for layer in cache.layers]
    return _filled(backbone, layers), mask[:, used]


def megabytes(cache: Any) -> float:
    """What a cache takes."""
    held = [t for layer in cache.layers for t in vars(layer).values() if isinstance(t, Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in held) / 2**20


def _in_front(kept: Tensor | None, mask: Tensor, longest: int, form: Tensor) -> Tensor:
    if kept is None or not kept.numel():
        return form.new_zeros(len(mask), form.shape[1], longest, form.shape[3])
    return nn.functional.pad(kept, (0, 0, longest - kept.shape[2], 0))


def _each(layer: Any, change: Any) -> tuple[Tensor | None, Tensor | None]:
    if layer.keys is None or not layer.keys.numel():
        return None, None
    return change(layer.keys), change(layer.values)


def _filled(backbone: "HFBackbone", layers: Sequence[tuple[Tensor | None, Tensor | None]]) -> Any:
    cache = new_cache(backbone)
    for layer, (keys, values) in zip(cache.layers, layers, strict=True):
        if keys is not None and values is not None:
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
    return cache
