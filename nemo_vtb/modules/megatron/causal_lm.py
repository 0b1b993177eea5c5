"""A causal LM of Transformers whose layers are megatron-core's, cut over the ranks of a tensor-parallel group."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Cache, DynamicCache, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from nemo_vtb.modules.megatron.families import family_of
from nemo_vtb.modules.megatron.groups import tensor_group, tensor_rank, tensor_size
from nemo_vtb.modules.megatron.spec import Step, layer_kinds, layer_spec, norm_class, transformer_config
from nemo_vtb.modules.megatron.vocabulary import VocabHead, VocabTable
from nemo_vtb.modules.megatron.weights import samples_of_llm

_MASKS = {"full_attention": create_causal_mask, "sliding_attention": create_sliding_window_causal_mask}


class _Pretrained(PreTrainedModel):
    base_model_prefix = "model"
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True
    config: Any


class MegatronBody(_Pretrained):
    """Embeddings to hidden states, whole on every rank.

    Args:
        config: Of the LLM; its ``_attn_implementation`` may change later.
        sequence_parallel: Whether norms and residuals see a part of each row on each rank.
        dtype: Of the weights.
    """

    def __init__(self, config: PretrainedConfig, sequence_parallel: bool, dtype: torch.dtype) -> None:
        from megatron.core.transformer.spec_utils import build_module

        super().__init__(config)
        family = family_of(config)
        made_for = transformer_config(config, family, tensor_size(), sequence_parallel, dtype)
        self.kinds = layer_kinds(config)
        self.embed_tokens = VocabTable(config, made_for, family.embed_scale)
        spec = layer_spec(config, made_for, family)
        self.layers = nn.ModuleList(
            build_module(spec, config=made_for, layer_number=number + 1) for number in range(config.num_hidden_layers)
        )
        self.norm = norm_class(family)(made_for, config.hidden_size, made_for.layernorm_epsilon)
        self.rotary_emb = type(family.body.rotary_emb)(config)
        self._per_kind = hasattr(self.rotary_emb, f"{self.kinds[0]}_inv_freq")
        self.sequence_parallel = made_for.sequence_parallel
        self._cut_rows = [part for part in self.layers.modules() if getattr(part, "sequence_parallel", False)]

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Any = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        cache: Cache | None = None,
        use_cache: bool = False,
        **more: Any,
    ) -> BaseModelOutputWithPast:
        """As the text models of Transformers.

        Args:
            input_ids: ``(B, L)``, or ``inputs_embeds``.
            attention_mask: ``(B, positions so far)``, what Transformers made of it, or None.
            position_ids: ``(B, L)``; restarting ones keep the conversations of a row apart.
            inputs_embeds: ``(B, L, H)``.
            cache: Of keys and values; each rank keeps those of its heads.
            use_cache: Whether to begin a cache where none is given.
            **more: For the attention function.
        """
        embeds = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and cache is None:
            cache = DynamicCache(config=self.config)
        if position_ids is None:
            seen = 0 if cache is None else cache.get_seq_length()
            position_ids = torch.arange(embeds.shape[1], device=embeds.device)[None] + seen
        length = embeds.shape[1]
        # One position a step cannot be cut, and nothing is gained where no gradient waits for what a pass keeps.
        cut = self.sequence_parallel and cache is None and attention_mask is None
        if cut:
            embeds, position_ids = _divisible(embeds, position_ids)
        angles = {kind: self._angles(embeds, position_ids, kind) for kind in set(self.kinds)}
        masks = self._masks(embeds, attention_mask, position_ids, cache)
        hidden = self._run(embeds.transpose(0, 1), Step(angles, masks, cache, more), cut)
        return BaseModelOutputWithPast(last_hidden_state=hidden.transpose(0, 1)[:, :length], cache=cache)

    def _run(self, hidden: Tensor, step: Step, cut: bool) -> Tensor:
        from megatron.core import tensor_parallel

        for part in self._cut_rows:
            part.sequence_parallel = cut
        hidden = hidden.contiguous()
        if cut:
            hidden = tensor_parallel.scatter_to_sequence_parallel_region(hidden, group=tensor_group())
        for layer in self.layers:
            hidden, _ = layer(hidden, step)
        hidden = self.norm(hidden)
        if cut:
            # Every rank goes on with the same loss: the gradient is whole on each and is not to be added up.
            hidden = tensor_parallel.gather_from_sequence_parallel_region(hidden, False, group=tensor_group())
        return hidden

    def _angles(self, embeds: Tensor, position_ids: Tensor, kind: str) -> tuple[Tensor, Tensor]:
        return self.rotary_emb(embeds, position_ids, *([kind] if self._per_kind else []))

    def _masks(self, embeds: Tensor, given: Any, position_ids: Tensor, cache: Any) -> dict[str, Any]:
        if isinstance(given, dict):
            return given
        return {
            kind: _MASKS[kind](
                config=self.config, inputs_embeds=embeds, attention_mask=given, cache=cache, position_ids=position_ids
            )
            for kind in sorted(set(self.kinds))
        }


def _divisible(embeds: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Makes rows as long as the ranks can share, by a conversation behind the others that none of them hears."""
    missing = -embeds.shape[1] % tensor_size()
    if not missing:
        return embeds, position_ids
    behind = torch.arange(missing, device=embeds.device).expand(len(embeds), -1)
    return F.pad(embeds, (0, 0, 0, missing)), torch.cat([position_ids.expand(len(embeds), -1), behind], 1)


class MegatronCausalLM(_Pretrained, GenerationMixin):
    """The LLM as ``HFBackbone`` and Hugging Face's ``generate`` know one; every rank returns the same logits.

    Args:
        config: Of the LLM.
        sequence_parallel: See ``MegatronBody``.
        dtype: Of the weights.
    """

    _tied_weights_keys: Any = None

    def __init__(self, config: PretrainedConfig, sequence_parallel: bool, dtype: torch.dtype) -> None:
        super().__init__(config)
        self.model = MegatronBody(config, sequence_parallel, dtype)
        tied = self.model.embed_tokens if config.tie_word_embeddings else None
        self.lm_head = VocabHead(config, self.model.layers[0].config, tied)
        self.rank, self.ranks = tensor_rank(), tensor_size()
        self.all_tied_weights_keys: dict[str, str] = {}

    def get_input_embeddings(self) -> nn.Module:
        """The table, wherever it is."""
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        """The head, whose parts are on the ranks."""
        return self.lm_head

    def samples_of_llm(self, most: int) -> Iterator[tuple[str, tuple[int, ...], Tensor]]:
        """Evenly spaced elements of all weights, of other ranks' parts too; see ``weights.samples_of_llm``."""
        yield from samples_of_llm(self.name_or_path, most)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Any = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **given: Any,
    ) -> CausalLMOutputWithPast:
        """As the causal LMs of Transformers; see ``MegatronBody.forward``."""
        out = self.model(input_ids, attention_mask, position_ids, inputs_embeds, **given)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(out.last_hidden_state[:, kept])
        cap = getattr(self.config, "final_logit_softcapping", None)
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        return CausalLMOutputWithPast(logits=logits, cache=out.cache)
