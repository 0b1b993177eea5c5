"""The LLM behind the few calls the model needs, so that packing, loss and metrics do not know whose it is."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models import SALM


class HFBackbone:
    """A Hugging Face causal LM as SALM holds it: embeddings outside, perhaps wrapped by PEFT.

    Args:
        owner: The model with ``llm`` and ``embed_tokens``. Held by reference: strategies replace both.
    """

    def __init__(self, owner: "SALM") -> None:
        self._owner = owner

    @property
    def causal_lm(self) -> Any:
        """The Hugging Face model itself, without PEFT's wrapper."""
        llm = self._owner.llm
        return llm.base_model.model if hasattr(llm, "peft_config") else llm

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids ``(N,)`` to embeddings ``(N, H)``."""
        return self._owner.embed_tokens(ids)

    def hidden_states(self, embeds: Tensor, position_ids: Tensor) -> Tensor:
        """Runs the layers over packed rows.

        Args:
            embeds: ``(R, L, H)``.
            position_ids: ``(R, L)``, restarting with each conversation; without an attention mask Hugging Face keeps
                conversations apart by them.

        Returns:
            Final hidden states ``(R, L, H)``.
        """
        with self._autocast_casts():
            out = self.causal_lm.model(inputs_embeds=embeds, position_ids=position_ids, use_cache=False)
        return out.last_hidden_state

    def project(self, hidden: Tensor) -> Tensor:
        """Hidden states ``(S, H)`` to logits ``(S, vocabulary)``, capped where the LLM caps them (Gemma 2)."""
        model = self.causal_lm
        logits = model.lm_head(hidden)
        cap = getattr(model.config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def _autocast_casts(self) -> AbstractContextManager[None]:
        """Under autocast, keeps PEFT from widening every LoRA input to float32 only for it to be narrowed again."""
        llm = self._owner.llm
        if hasattr(llm, "peft_config") and torch.is_autocast_enabled(self._owner.device.type):
            from peft.helpers import disable_input_dtype_casting

            return disable_input_dtype_casting(llm)
        return nullcontext()

    @contextmanager
    def without_lora(self) -> Iterator[None]:
        """The untouched LLM for the time of the block."""
        llm = self._owner.llm
        with llm.disable_adapter() if hasattr(llm, "peft_config") else nullcontext():
            yield
