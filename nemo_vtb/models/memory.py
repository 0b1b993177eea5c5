"""How much memory of one GPU a training config takes, by arithmetic over its shapes: no weight is read.

What stands whatever the batch: weights, gradients and Adam's two moments. What grows with it: one number per layer and
LLM position that recomputation keeps, and one layer's inner values. The factors are upper bounds of what autograd keeps
of a layer, which the tests count on the meta device; allocator and CUDA context are the reserve.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, open_dict
from torch import nn

from nemo_vtb.assets.resolve import resolve_section
from nemo_vtb.modules.build import build_llm, build_perception, install_lora
from nemo_vtb.modules.llm.parts import layers_of_body
from nemo_vtb.parts.recompute import layers_of

if TYPE_CHECKING:
    from collections.abc import Iterable

_SECONDS = 0.08  # of audio per LLM position
_HALF, _FULL = 2, 4  # bytes
# A trained weight in float32, its gradient, Adam's two moments, and its copy in half precision under autocast.
_TRAINED = 4 * _FULL + _HALF
# Values that live at once for each number that goes into or comes out of a linear layer: forward and backward.
_COPIES = 3
# Copies of an attention matrix with relative positions, which is no fused kernel in NeMo's Conformer.
_SCORES = 6
# Logits of a chunk: half precision, float32, their softmax and their gradient.
_LOGITS = _HALF + 3 * _FULL
_RESERVE = 0.12
_ROUND = 512
_MOST = 65_536


@dataclass(frozen=True)
class Memory:
    """Bytes of one GPU.

    Attributes:
        trained: Weights that learn.
        frozen: Weights that do not.
        standing: Bytes of weights, gradients and moments.
        working: Bytes of logits and of one call of the speech encoder.
        per_position: Bytes that each LLM position of a step adds.
    """

    trained: int
    frozen: int
    standing: int
    working: int
    per_position: int

    def batch_tokens(self, gigabytes: float) -> int:
        """The largest ``batch_tokens`` for a card, in steps of 512 up to 65,536; 0 where nothing fits."""
        free = gigabytes * 1e9 * (1 - _RESERVE) - self.standing - self.working
        return min(_MOST, max(0, int(free / self.per_position) // _ROUND * _ROUND))


def memory_of(cfg: DictConfig, seconds: float = 40.0, shapes: tuple[Any, nn.Module, Any] | None = None) -> Memory:
    """Builds the shapes of a ``model`` section and adds up what a rank without sharding holds.

    Args:
        cfg: The section ``model``; ``pretrained_weights`` becomes false in it.
        seconds: Longest clip, for attention within it.
        shapes: Of ``shapes_of``, where they are built already.

    Raises:
        VTBError: If the configs of LLM or encoder cannot be read.
    """
    llm, embed_tokens, perception = shapes or shapes_of(cfg)
    frozen = list(cfg.get("freeze_params") or [])
    # An embedding table that is the head too counts once.
    parts = nn.ModuleDict({"llm": llm, "embed_tokens": embed_tokens, "perception": perception})
    named = list(parts.named_parameters())
    trained = frozen_count = standing = 0
    for name, parameter in named:
        if "lora_" in name or not _matches(name, frozen):
            trained += parameter.numel()
            standing += parameter.numel() * _TRAINED
        else:
            frozen_count += parameter.numel()
            # Of a frozen encoder autocast makes a copy for each call, not one that stays.
            standing += parameter.numel() * (_FULL if name.startswith("perception.") else parameter.element_size())
    recomputed = set(cfg.get("activation_checkpointing") or [])
    hears = any(not _matches(name, frozen) for name, _ in named if name.startswith("perception.encoder."))
    heard = _hearing(perception, seconds, hears, "encoder" in recomputed)
    layers = layers_of(llm) or layers_of_body(llm)
    width = llm.config.hidden_size
    one = [inner_bytes(layer, llm.config) for layer in layers]
    written = len(layers) * width * _HALF + max(one) if "llm" in recomputed else sum(one)
    logits = int(cfg.get("loss_chunk") or 1024) * llm.config.vocab_size * _LOGITS
    calls = float(cfg.get("encoder_batch_seconds") or 600.0) / _SECONDS
    whole = calls * max(inner_bytes(layer) for layer in layers_of(perception))
    return Memory(trained, frozen_count, standing, int(logits + whole), int(written + heard + 3 * width * _FULL))


def shapes_of(cfg: DictConfig) -> tuple[Any, nn.Module, Any]:
    """The LLM under LoRA, its embeddings and the perception module, on the meta device."""
    from accelerate import init_empty_weights

    resolve_section(cfg)
    with open_dict(cfg):
        cfg.pretrained_weights = False
        if cfg.get("llm_dtype") in (None, "auto"):
            cfg.llm_dtype = "bfloat16"
    with torch.device("meta"):
        llm = build_llm(cfg)
        embed_tokens = llm.get_input_embeddings()
        adapted = install_lora(llm, embed_tokens, cfg)
    # NeMo's subsampling computes a size with tensors, which the meta device cannot hand out.
    with init_empty_weights():
        perception = build_perception(cfg, llm.config.hidden_size)
    return adapted, embed_tokens, perception


def inner_bytes(layer: nn.Module, config: Any = None) -> int:
    """Bytes per position that live while a layer runs forward and backward, its attention matrix left out.

    Args:
        layer: Of an LLM or a speech encoder.
        config: The LLM's, which says how many experts a position meets.
    """
    met = getattr(config, "num_experts_per_tok", None) or 1
    numbers = 0
    for name, part in layer.named_modules():
        if "lora_" in name:
            continue
        if isinstance(part, nn.Linear):
            numbers += part.in_features + part.out_features
        elif isinstance(part, nn.Conv1d):
            numbers += part.in_channels + part.out_channels
    for name, parameter in layer.named_parameters():
        if parameter.ndim == 3 and "expert" in name and "lora_" not in name:
            numbers += met * (parameter.shape[1] + parameter.shape[2])
    return numbers * _HALF * _COPIES


def _hearing(perception: Any, seconds: float, encoder_trains: bool, recomputed: bool) -> int:
    """Bytes per LLM position of the adapter and, where it trains, of the encoder."""
    frames = seconds / _SECONDS
    layers = layers_of(perception.modality_adapter)
    if encoder_trains:
        layers = [*layers_of(perception.encoder), *layers]
    kept = 0.0
    for layer in layers:
        heads = getattr(getattr(layer, "self_attn", None), "h", 8)
        width = max((part.in_features for part in layer.modules() if isinstance(part, nn.Linear)), default=0)
        inside = inner_bytes(layer) + heads * frames * _HALF * _SCORES
        kept += width * _FULL if recomputed else inside
    return int(kept + (_subsampling(perception.encoder) if encoder_trains else 0))


def _subsampling(encoder: Any) -> int:
    """Bytes per frame of the convolutions before NeMo's layers, each of which halves time and bands."""
    before = getattr(encoder, "pre_encode", None)
    if before is None or not hasattr(before, "_conv_channels"):
        return 0
    total, times, bands = 0, int(encoder.subsampling_factor), int(encoder._feat_in)
    while times > 1:
        times, bands = times // 2, bands // 2
        total += times * bands * before._conv_channels
    return total * _HALF * _COPIES


def _matches(name: str, patterns: "Iterable[str]") -> bool:
    return any(re.match(pattern, name) for pattern in patterns)
