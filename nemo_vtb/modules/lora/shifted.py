"""PiSSA and OLoRA that leave the LLM's own weights where they are.

Both start LoRA at a part of a weight, ``B0 A0``, and take that part out of the weight. PEFT writes what is left over
the weight, so that the LLM with LoRA off is another one. Here the weight stays, and a second, frozen adapter takes the
part away: ``W + s (B A - B0 A0)``, the same function with the same gradients. Off, gated or at scale 0 it is the
untouched LLM.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from nemo_vtb.errors import VTBError

INITIAL = "initial"


def shift_adapters(wrapped: Any, settings: Mapping[str, Any]) -> None:
    """Starts the adapter ``default`` at a part of each weight and adds the adapter that takes it away.

    Args:
        wrapped: A PeftModel with LoRA on linear layers, as if ``init_lora_weights`` were true.
        settings: The arguments of its ``peft.LoraConfig``.

    Raises:
        VTBError: If PEFT cannot start OLoRA in a layer.
    """
    from peft import LoraConfig
    from peft.tuners.lora import LoraLayer

    if settings["init_lora_weights"] == "olora":
        for name, part in wrapped.named_modules():
            if isinstance(part, LoraLayer) and not isinstance(part.get_base_layer(), nn.Linear):
                kind = type(part.get_base_layer()).__name__
                raise VTBError(
                    f"model.lora.init_lora_weights=olora cannot be used with {name}, which is of class {kind}: PEFT "
                    "has it for Linear only; use pissa"
                )
    kept = {key: value for key, value in settings.items() if key not in ("bias", "modules_to_save")}
    trained = [parameter for parameter in wrapped.parameters() if parameter.requires_grad]
    wrapped.add_adapter(INITIAL, LoraConfig(**{**kept, "init_lora_weights": True}))
    for layer in [part for part in wrapped.modules() if isinstance(part, LoraLayer)]:
        _shift(layer, str(settings["init_lora_weights"]))
        layer.set_adapter(["default", INITIAL])
    for parameter in trained:
        # PEFT freezes the copies of ``modules_to_save`` when it adds an adapter that has none.
        parameter.requires_grad_(True)


@torch.no_grad()
def _shift(layer: Any, kind: str) -> None:
    base = layer.get_base_layer()
    untouched = base.weight.data
    base.weight.data = untouched.clone()
    try:
        # PEFT's own sums, on a copy that is thrown away.
        layer.olora_init("default") if kind == "olora" else layer.pissa_init("default", kind)
    finally:
        base.weight.data = untouched
    for name, sign in (("lora_A", 1), ("lora_B", -1)):
        learnt, taken = getattr(layer, name)["default"], getattr(layer, name)[INITIAL]
        learnt.weight.data = learnt.weight.data.to(taken.weight.dtype).contiguous()
        _freeze_as_buffer(taken, sign * learnt.weight.data.clone())


def _freeze_as_buffer(linear: nn.Module, weight: torch.Tensor) -> None:
    """A buffer is in every checkpoint, whole on every rank, and trained by nobody."""
    del linear._parameters["weight"]
    linear.register_buffer("weight", weight)
