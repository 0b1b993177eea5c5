"""The ModuleSpec of a layer: megatron-core's parallel matrices around Hugging Face's norms and attention."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nemo_vtb.modules.megatron.families import Family, head_size

if TYPE_CHECKING:
    from megatron.core.transformer.spec_utils import ModuleSpec
    from megatron.core.transformer.transformer_config import TransformerConfig
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Step:
    """What the layers need for one forward pass; they are given it as the attention mask.

    So it is an argument of each layer, and a layer that runs again in the backward pass finds that of its own pass.

    Attributes:
        angles: Cosines and sines of each kind of layer.
        masks: Likewise the attention masks.
        cache: A ``transformers.Cache``, or None.
        more: What else Hugging Face's attention is given.
    """

    angles: Mapping[str, tuple[Tensor, Tensor]]
    masks: Mapping[str, Any]
    cache: Any
    more: Mapping[str, Any]


def layer_kinds(config: "PretrainedConfig") -> list[str]:
    """The kind of attention of each layer."""
    return list(getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers)


def transformer_config(
    config: "PretrainedConfig", family: Family, size: int, sequence_parallel: bool, dtype: torch.dtype
) -> "TransformerConfig":
    """megatron-core's config of a Hugging Face one.

    Nothing is fused, since that needs Transformer Engine or Apex, and nothing is initialised: the weights are read.
    """
    from megatron.core.transformer.transformer_config import TransformerConfig

    return TransformerConfig(
        num_layers=config.num_hidden_layers,
        hidden_size=config.hidden_size,
        num_attention_heads=config.num_attention_heads,
        num_query_groups=config.num_key_value_heads,
        kv_channels=head_size(config),
        ffn_hidden_size=config.intermediate_size,
        gated_linear_unit=True,
        activation_func=family.body.layers[0].mlp.act_fn,
        add_bias_linear=False,
        add_qkv_bias=family.qkv_bias,
        normalization="RMSNorm",
        layernorm_epsilon=config.rms_norm_eps,
        qk_layernorm=family.qk_norm,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        tensor_model_parallel_size=size,
        sequence_parallel=sequence_parallel and size > 1,
        params_dtype=dtype,
        use_cpu_initialization=True,
        perform_initialization=False,
        gradient_accumulation_fusion=False,
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
        persist_layer_norm=False,
    )


def layer_spec(config: "PretrainedConfig", made_for: "TransformerConfig", family: Family) -> "ModuleSpec":
    """The spec of every layer.

    Args:
        config: Hugging Face's.
        made_for: megatron-core's.
        family: Of the LLM.
    """
    from megatron.core.fusions.fused_bias_dropout import get_bias_dropout_add
    from megatron.core.tensor_parallel import ColumnParallelLinear, RowParallelLinear
    from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
    from megatron.core.transformer.enums import AttnMaskType
    from megatron.core.transformer.mlp import MLP, MLPSubmodules
    from megatron.core.transformer.spec_utils import ModuleSpec
    from megatron.core.transformer.transformer_layer import TransformerLayer, TransformerLayerSubmodules

    norm = norm_class(family)
    core = attention_class(config, family)
    of_queries = norm if family.qk_norm else None
    attention = ModuleSpec(
        module=SelfAttention,
        params={"attn_mask_type": AttnMaskType.causal},
        submodules=SelfAttentionSubmodules(
            linear_qkv=ColumnParallelLinear,
            core_attention=core,
            linear_proj=RowParallelLinear,
            q_layernorm=of_queries,
            k_layernorm=of_queries,
        ),
    )
    mlp = ModuleSpec(
        module=MLP, submodules=MLPSubmodules(linear_fc1=ColumnParallelLinear, linear_fc2=RowParallelLinear)
    )
    add: Any = get_bias_dropout_add
    if family.sandwich:
        add = ModuleSpec(module=AddNormed, params={"norm": norm, "config": made_for})
    return ModuleSpec(
        module=TransformerLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=norm,
            self_attention=attention,
            self_attn_bda=add,
            pre_mlp_layernorm=norm,
            mlp=mlp,
            mlp_bda=add,
        ),
    )


def norm_class(family: Family) -> type[nn.Module]:
    """The family's norm, built as megatron-core builds norms; megatron-core's own without Apex has no ``1 + w``."""

    class Norm(family.norm):  # type: ignore[misc, name-defined]
        def __init__(self, config: Any, hidden_size: int, eps: float = 1e-6, **_: Any) -> None:
            super().__init__(hidden_size, eps=eps)
            self.to(config.params_dtype)

    return Norm


class AddNormed(nn.Module):
    """Stands where megatron-core adds the residual, and norms what is added (Gemma 2, 3).

    So the norm is behind LoRA on the matrix before it, as it is in Hugging Face's layers.
    """

    def __init__(self, norm: type[nn.Module], config: Any) -> None:
        super().__init__()
        self.norm = norm(config, config.hidden_size, config.layernorm_epsilon)

    def forward(self, training: bool, fused: bool) -> Any:
        """Returns the function of ``(output, bias)``, residual and dropout that megatron-core calls."""
        return lambda out, residual, dropout: residual + self.norm(out[0] if out[1] is None else out[0] + out[1])


def attention_class(config: "PretrainedConfig", family: Family) -> type[nn.Module]:
    """The class of core attentions: this rank's heads through Hugging Face's rotary angles, cache and attention."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    functions, of_llm = sys.modules[type(family.body).__module__], config
    kinds = layer_kinds(config)
    theirs = [layer.self_attn for layer in family.body.layers]

    class CoreAttention(nn.Module):
        def __init__(self, config: Any, layer_number: int, **_: Any) -> None:
            super().__init__()
            self.layer_idx, self.config, self.is_causal = layer_number - 1, of_llm, True
            self.kind, own = kinds[self.layer_idx], theirs[self.layer_idx]
            self.scaling = own.scaling
            self.sliding_window = getattr(own, "sliding_window", None)
            self.cap = getattr(own, "attn_logit_softcapping", None)
            self.num_key_value_groups = 1

        def forward(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Step, **_: Any) -> Tensor:
            step = attention_mask
            # (L, B, heads, width) to (B, heads, L, width)
            query, key, value = (part.permute(1, 2, 0, 3) for part in (query, key, value))
            query, key = functions.apply_rotary_pos_emb(query, key, *step.angles[self.kind])
            if step.cache is not None:
                key, value = step.cache.update(key, value, self.layer_idx)
            # Where there are fewer key/value heads than ranks, each rank has one.
            self.num_key_value_groups = query.shape[1] // key.shape[1]
            attend = ALL_ATTENTION_FUNCTIONS.get_interface(
                self.config._attn_implementation, functions.eager_attention_forward
            )
            capped = {} if self.cap is None else {"softcap": self.cap}
            out, _ = attend(
                self,
                query,
                key,
                value,
                step.masks[self.kind],
                dropout=0.0,
                scaling=self.scaling,
                sliding_window=self.sliding_window,
                **capped,
                **step.more,
            )
            # (B, L, heads, width) to (L, B, heads * width); of strided rows PyTorch makes another, slower product.
            return out.transpose(0, 1).flatten(2).contiguous()

    return CoreAttention
