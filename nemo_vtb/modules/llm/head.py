"""From hidden states to the logits that the LLM itself would give: its head, and what it does behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.llm.parts import body_of, family, text_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Fields of configs: what multiplies logits (Cohere, Falcon-H1), and what divides them (Granite).
_MULTIPLIES = ("logit_scale", "lm_head_multiplier")
_DIVIDES = ("logits_scaling",)


class LogitHead:
    """The head of an LLM with the factor and the cap that stand in its config.

    ``nemo_vtb.modules.proof`` compares it with the LLM's own logits; where a family does something else behind its
    head, its own forward pass is taken from there on.

    Args:
        llm: The causal LM, with its adapters.

    Attributes:
        module: The head itself. Kept, since Transformers finds none while the table is out of its place, as NeMo's
            ``move_embedding`` leaves it.
    """

    def __init__(self, llm: "PreTrainedModel") -> None:
        self._llm = llm
        self.module: nn.Module = llm.get_output_embeddings()
        config = text_config(llm)
        self.factor = 1.0
        for name in _MULTIPLIES:
            self.factor *= getattr(config, name, None) or 1.0
        for name in _DIVIDES:
            self.factor /= getattr(config, name, None) or 1.0
        self.cap: float | None = getattr(config, "final_logit_softcapping", None)
        self.by_llm = False

    @property
    def trains(self) -> bool:
        """Whether a gradient flows into the head."""
        return any(parameter.requires_grad for parameter in self.module.parameters())

    def __call__(self, hidden: Tensor) -> Tensor:
        """Hidden states ``(S, H)`` to logits ``(S, vocabulary)``."""
        if self.by_llm:
            return self.of_llm(hidden)
        logits = self.module(hidden)
        if self.factor != 1.0:
            logits = logits * self.factor
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap

    def of_llm(self, hidden: Tensor) -> Tensor:
        """The logits by the LLM's own forward pass, its layers left out."""
        return own_logits(self._llm, hidden)

    def for_kernel(self) -> tuple[Tensor, float | None]:
        """Weight ``(vocabulary, H)`` and cap for a fused loss, the factor within the weight.

        Raises:
            VTBError: If the head is more than that.
        """
        weight, bias = getattr(self.module, "weight", None), getattr(self.module, "bias", None)
        if self.by_llm or weight is None or bias is not None:
            raise VTBError(
                f"the head of {family(self._llm)} is more than a matrix with a factor: set model.loss_backend=chunked"
            )
        return weight if self.factor == 1.0 else weight * self.factor, self.cap


def own_logits(llm: "PreTrainedModel", hidden: Tensor) -> Tensor:
    """Hidden states ``(S, H)`` to logits ``(S, vocabulary)`` by an LLM's own forward pass, its layers left out."""
    with _answering(body_of(llm), hidden[None]):
        return llm(inputs_embeds=hidden[None], use_cache=False).logits[0]


class _Output:
    """What a text model returns, for a forward pass that takes the last hidden state and perhaps looks at the rest."""

    def __init__(self, hidden: Tensor) -> None:
        self.last_hidden_state = hidden

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)

    def keys(self) -> tuple[str, ...]:
        return ("last_hidden_state",)

    def __getitem__(self, index: Any) -> Any:
        return self.last_hidden_state if isinstance(index, str) else (self.last_hidden_state,)[index]


@contextmanager
def _answering(body: nn.Module, hidden: Tensor) -> Iterator[None]:
    before = body.__dict__.get("forward")
    body.forward = lambda *args, **kwargs: _Output(hidden)
    try:
        yield
    finally:
        del body.forward
        if before is not None:
            body.forward = before
