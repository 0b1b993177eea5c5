"""The loss that keeps a mixture of experts in balance, where the LLM's own config asks for it.

Transformers adds it to the training loss of a model whose config has ``output_router_logits: true``, weighted by its
``router_aux_loss_coef``; so does this, by the family's own function.
"""

import inspect
import sys
from typing import TYPE_CHECKING, Any, Optional

from torch import Tensor

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.llm.parts import family, text_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class RouterLoss:
    """Holds the router logits of the last forward pass.

    Args:
        llm: The causal LM.

    Raises:
        VTBError: If its family names no such loss.
    """

    def __init__(self, llm: "PreTrainedModel") -> None:
        config = text_config(llm)
        self.weight = getattr(config, "router_aux_loss_coef", None)
        self._loss: Any = getattr(sys.modules[type(llm).__module__], "load_balancing_loss_func", None)
        experts = (getattr(config, name, None) for name in ("num_local_experts", "num_experts", "n_routed_experts"))
        self._experts = next((count for count in experts if count), None)
        self._top = getattr(config, "num_experts_per_tok", None)
        if self.weight is None or self._loss is None or not self._experts:
            raise VTBError(
                f"the LLM {family(llm)} has output_router_logits: true in its config and no router loss that "
                "Transformers knows of; set it to false there"
            )
        self._logits: Any = None

    @classmethod
    def of(cls, llm: "PreTrainedModel") -> Optional["RouterLoss"]:
        """Returns one where the LLM's config asks for it."""
        return cls(llm) if getattr(text_config(llm), "output_router_logits", False) else None

    def keep(self, output: Any) -> None:
        """Takes the router logits of an output of the text model."""
        self._logits = output.router_logits

    def value(self, used: Tensor) -> Tensor:
        """The weighted loss of the pass that was kept last.

        Args:
            used: ``(R, L)``, 1 where a position is no padding.

        Returns:
            A float32 scalar.
        """
        logits, self._logits = self._logits, None
        names = list(inspect.signature(self._loss).parameters)
        found = self._loss(
            logits, self._experts, self._top, **({"attention_mask": used} if "attention_mask" in names else {})
        )
        return self.weight * found.float()
