"""LoRA that acts less than it was trained to: switched off per position, or scaled everywhere.

Where gate or scale is 0, the LLM's layers compute what they did before tuning.
"""

from typing import Any

from torch import Tensor, nn

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.lora_fields import HEAD, not_zero_for_zero


class LoraGate:
    """Multiplies what every LoRA down-projection returns; the up-projection, without bias, keeps zero zero.

    Attributes:
        value: Broadcastable to ``(B, T, 1)``; None leaves LoRA on everywhere.
    """

    def __init__(self) -> None:
        self.value: Tensor | None = None

    def install(self, llm: nn.Module) -> None:
        """Hooks the gate into every LoRA layer of ``llm``.

        Raises:
            VTBError: If there is none, or something is adapted that no gate on the down-projections switches off: DoRA,
                biases, whole modules, parameters that are no layers, the head.
        """
        from peft.tuners.lora import LoraLayer

        layers = [module for module in llm.modules() if isinstance(module, LoraLayer)]
        if not layers:
            raise VTBError("model.text_lora=audio_gated needs LoRA: choose one, e.g. lora=r32")
        for config in getattr(llm, "peft_config", {}).values():
            if ungated := not_zero_for_zero(config.to_dict()):
                raise VTBError(f"model.text_lora=audio_gated cannot be used with model.lora.{ungated[0]}")
        if any(name.endswith(HEAD) and isinstance(part, LoraLayer) for name, part in llm.named_modules()):
            raise VTBError(
                f"model.text_lora=audio_gated cannot be used with LoRA on {HEAD}: leave it out of model.lora"
            )
        for layer in layers:
            for projection in layer.lora_A.values():
                projection.register_forward_hook(self._hook)

    def _hook(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return output if self.value is None else output * self.value.to(output.dtype)


def scale_lora(llm: nn.Module, scale: float) -> None:
    """Makes every LoRA layer add ``scale`` times what it was trained to add; PEFT merges it like that too."""
    from peft.tuners.lora import LoraLayer

    for module in llm.modules():
        if isinstance(module, LoraLayer):
            for adapter in module.scaling:
                module.set_scale(adapter, scale)
