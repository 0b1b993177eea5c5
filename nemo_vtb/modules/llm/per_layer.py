"""LLMs with a second embedding table, one row for each id and layer (Gemma 3n, Gemma 4)."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.llm.parts import body_of, text_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PerLayerIds:
    """Feeds LLMs that look every id up in a second table, of per-layer embeddings (Gemma 3n, Gemma 4).

    Embeddings alone do not say which id stands where. Audio frames have none; they count as padding there, as images do
    in Transformers' own models.

    Args:
        llm: The causal LM.
    """

    def __init__(self, llm: "PreTrainedModel") -> None:
        self.ids: Tensor | None = None
        body, config = body_of(llm), text_config(llm)
        self.wanted = bool(getattr(config, "hidden_size_per_layer_input", 0)) and hasattr(body, "get_per_layer_inputs")
        self.pad = getattr(config, "pad_token_id", None) or 0
        if self.wanted:
            self._forward, self._body = body.forward, body
            # The forward and not a hook: FSDP2 has gathered the second table by then.
            body.forward = self._with_ids

    def _with_ids(self, *args: Any, **kwargs: Any) -> Any:
        embeds = kwargs.get("inputs_embeds")
        if embeds is not None and kwargs.get("per_layer_inputs") is None:
            ids = self.ids
            if ids is None or len(embeds) % len(ids) or ids.shape[1] != embeds.shape[1]:
                raise VTBError(f"{type(self._body).__name__} was given embeddings without the ids they stand for")
            ids = ids.repeat_interleave(len(embeds) // len(ids), 0)
            kwargs["per_layer_inputs"] = self._body.get_per_layer_inputs(ids)
        return self._forward(*args, **kwargs)
