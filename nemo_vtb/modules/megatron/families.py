"""The LLM families that run on megatron-core, and which sizes of tensor parallelism each LLM of them allows.

What sets a family apart is read off Hugging Face's own model, built without weights: its norms, whether there are some
on queries and keys and behind attention and MLP, and by what embeddings are multiplied.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# Each is proved equal to Hugging Face by a test, at several sizes.
FAMILIES = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
_LARGEST = 64


@dataclass(frozen=True)
class Family:
    """What a family's layers are made of.

    Attributes:
        norm: Its class of norms.
        qk_norm: Whether queries and keys are normed.
        sandwich: Whether there are norms behind attention and MLP too, before the residual is added.
        qkv_bias: Whether the projections of queries, keys and values have biases.
        embed_scale: What embeddings are multiplied by.
        body: Hugging Face's text model without weights, for its rotary embedding and its module's functions.
    """

    norm: type[nn.Module]
    qk_norm: bool
    sandwich: bool
    qkv_bias: bool
    embed_scale: float
    body: "PreTrainedModel"


def family_of(config: "PretrainedConfig") -> Family:
    """Looks at an LLM's family.

    Args:
        config: Of the LLM, its attention chosen.

    Raises:
        VTBError: If it is none that runs on megatron-core, or has something that none of them has.
    """
    check_family(config)
    from transformers import AutoModel

    with torch.device("meta"):
        body = AutoModel.from_config(config)
    layer = body.layers[0]
    projections = layer.self_attn
    biased = [name for name in ("o_proj",) if getattr(projections, name).bias is not None]
    biased += [name for name in ("gate_proj", "up_proj", "down_proj") if getattr(layer.mlp, name).bias is not None]
    if biased:
        raise VTBError(f"model.llm_backend=megatron: the LLM has a bias in {biased[0]}, {_INSTEAD}")
    if getattr(config, "use_bidirectional_attention", False):
        raise VTBError(f"model.llm_backend=megatron: the LLM's attention is bidirectional, {_INSTEAD}")
    return Family(
        norm=type(body.norm),
        qk_norm=hasattr(projections, "q_norm"),
        sandwich=hasattr(layer, "pre_feedforward_layernorm"),
        qkv_bias=projections.q_proj.bias is not None,
        embed_scale=float(getattr(body.embed_tokens, "scalar_embed_scale", 1.0)),
        body=body,
    )


_INSTEAD = "which is not supported there: leave model.llm_backend at hf"


def check_family(config: "PretrainedConfig") -> None:
    """Refuses a family that was not proved equal.

    Raises:
        VTBError: Names those that were.
    """
    if config.model_type not in FAMILIES:
        raise VTBError(
            f"model.llm_backend=megatron does not know the LLM family '{config.model_type}'; it knows "
            f"{', '.join(FAMILIES)}: leave model.llm_backend at hf, where trainer.strategy=vtb_fsdp2 shards any LLM"
        )


def check_sizes(config: "PretrainedConfig", size: int) -> None:
    """Refuses a size of tensor parallelism into which an LLM cannot be cut.

    Raises:
        VTBError: Says what does not divide, and the sizes that can be.
    """
    why = _indivisible(config, size)
    if why:
        able = [str(other) for other in range(1, _LARGEST + 1) if not _indivisible(config, other)]
        raise VTBError(
            f"model.tensor_model_parallel_size={size}: the LLM's {why}; it can be {', '.join(able)}"
            + (
                " (trainer.strategy=vtb_fsdp2 with model.llm_backend=hf shards over any number)"
                if len(able) < 3
                else ""
            )
        )


def head_size(config: Any) -> int:
    """Width of an attention head."""
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _indivisible(config: Any, size: int) -> str | None:
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    if heads % size:
        return f"{heads} attention heads cannot be divided by {size}"
    if groups % size and size % groups:
        return f"{groups} key/value heads are neither a multiple nor a divisor of {size}"
    if (heads + 2 * groups) * head_size(config) % size:
        return f"{heads} attention heads with {groups} of keys and values, {head_size(config)} wide, do not divide"
    if config.intermediate_size % size:
        return f"{config.intermediate_size} MLP channels cannot be divided by {size}"
    if config.vocab_size % size:
        return f"vocabulary of {config.vocab_size} cannot be divided by {size}"
    return None
