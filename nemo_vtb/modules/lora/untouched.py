"""The LLM as it was before tuning, for a while: adapters off, and its own biases back in place."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from nemo_vtb.errors import VTBError


@contextmanager
def adapters_off(module: nn.Module) -> Iterator[None]:
    """Switches every adapter inside a module off for the time of the block, copies of ``modules_to_save`` included."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    parts = [part for part in module.modules() if isinstance(part, BaseTunerLayer | AuxiliaryTrainingWrapper)]
    on = [part for part in parts if not part.disable_adapters]
    for part in on:
        part._disable_adapters = True
    try:
        yield
    finally:
        for part in on:
            part._disable_adapters = False


def not_linear(llm: Any) -> str | None:
    """The setting because of which LoRA cannot act at a fraction of its strength, if there is one."""
    configs = getattr(llm, "peft_config", {}).values()
    settings = {"use_dora": False, "modules_to_save": None, "bias": "none"}
    return next(
        (key for config in configs for key, no in settings.items() if getattr(config, key) not in (no, [])), None
    )


class UntouchedBiases:
    """What the biases were that LoRA trains in the LLM itself; PEFT leaves them tuned when LoRA is off.

    Args:
        llm: With LoRA, before its first step.
        known: Whether its weights were read from a file; else nobody knows what they once were.
    """

    def __init__(self, llm: nn.Module, known: bool) -> None:
        self._known = known
        self._kept: list[tuple[nn.Module, str, Tensor]] = []
        for name, part in llm.named_modules():
            if ".lora_" in name or ".modules_to_save" in name:
                continue
            for own, parameter in part.named_parameters(recurse=False):
                if parameter.requires_grad:
                    self._kept.append((part, own, parameter.detach().clone()))

    def __bool__(self) -> bool:
        return bool(self._kept)

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """Has the LLM's own biases in place for the time of the block.

        Raises:
            VTBError: If they are not known, or are sharded.
        """
        if not self._known and any(
            not getattr(part, own).equal(was.to(getattr(part, own))) for part, own, was in self._kept
        ):
            # Read from a folder after the model was built: what they were before training stands nowhere.
            raise VTBError("model.lora.bias was trained and this model does not know the LLM's own biases any more")
        tuned: list[Any] = []
        for part, own, _ in self._kept:
            parameter = getattr(part, own)
            if hasattr(parameter, "device_mesh"):
                raise VTBError("model.lora.bias: the untouched LLM cannot be asked where its weights are sharded")
            tuned.append(parameter.data)
        try:
            for part, own, untouched in self._kept:
                parameter = getattr(part, own)
                parameter.data = untouched.to(parameter)
            yield
        finally:
            for (part, own, _), data in zip(self._kept, tuned, strict=True):
                getattr(part, own).data = data
