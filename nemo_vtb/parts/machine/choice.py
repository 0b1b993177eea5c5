"""What ``auto`` becomes on a machine: precision, attention and threads, each with its reason. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nemo_vtb.parts.machine.hardware import Machine

AUTO = "auto"
FULL, HALF = "32-true", "bf16-mixed"
# So much faster must bfloat16 be: around the products the types are changed, which costs time.
_PAYS = 1.3
# The part of the free memory that weights may take; activations and optimizer need the rest.
_WEIGHTS = 0.7


@dataclass(frozen=True)
class Choice:
    """What is used, and why."""

    value: Any
    reason: str

    def __str__(self) -> str:
        return f"{self.value} ({self.reason})"


def choose_precision(machine: Machine, parameters: int | None = None, alone: bool = True) -> Choice:
    """Chooses ``bf16-mixed`` or ``32-true``.

    Args:
        machine: Where the run is to be.
        parameters: Of the LLM, where that is known.
        alone: Whether one process decides. Several must come to the same, so that they go by what the processor has
            and not by what each of them measures.
    """
    if parameters is not None and machine.free_bytes and 4 * parameters > _WEIGHTS * machine.free_bytes:
        needed, free = 4 * parameters / 1e9, machine.free_bytes / 1e9
        return Choice(HALF, f"weights in float32 take {needed:.1f} GB, {free:.1f} GB are free")
    if machine.device == "cuda":
        if machine.bf16:
            return Choice(HALF, f"{machine.name} computes in bfloat16, {machine.bf16}")
        return Choice(FULL, f"{machine.name} has no bfloat16 arithmetic")
    if machine.device != "cpu":
        return Choice(FULL, f"bfloat16 was not tried on {machine.device}")
    if alone and machine.rates:
        full, half = machine.rates["float32"], machine.rates["bfloat16"]
        measured = f"matrix products on a core: float32 {full:.0f} GFLOP/s, bfloat16 {half:.0f}"
        return Choice(HALF if half > _PAYS * full else FULL, f"{measured}; {_instructions(machine)}")
    return Choice(HALF if machine.bf16 else FULL, _instructions(machine))


def choose_attention(machine: Machine, half: bool) -> Choice:
    """Chooses the attention of the LLM.

    Args:
        machine: Where the run is to be.
        half: Whether it computes in half precision, which FlashAttention needs.
    """
    if machine.device != "cuda":
        return Choice("sdpa", f"PyTorch's fused attention; FlashAttention needs a GPU, this is {machine.device}")
    if not half:
        return Choice("sdpa", "PyTorch's fused attention; FlashAttention needs half precision")
    if not machine.flash:
        return Choice("sdpa", "PyTorch's fused attention; no FlashAttention package for this GPU is installed")
    return Choice(machine.flash[0], "keeps packed conversations apart at no cost; its package is installed")


def choose_threads(machine: Machine, environ: Mapping[str, str], ranks: int = 1) -> Choice:
    """Chooses PyTorch's threads on the processor.

    Args:
        machine: Where the run is to be.
        environ: The environment's variables; ``OMP_NUM_THREADS`` is a wish to be kept.
        ranks: Processes of the run on this machine.
    """
    wished = environ.get("OMP_NUM_THREADS", "")
    if wished.isdecimal() and int(wished):
        return Choice(int(wished), "OMP_NUM_THREADS")
    share = f" for {ranks} processes" if ranks > 1 else ""
    return Choice(max(1, machine.cores // max(1, ranks)), f"{machine.cores} cores{share}")


def is_half(precision: Any) -> bool:
    """Whether a ``trainer.precision`` computes in 16 bits."""
    return str(precision).startswith(("16", "bf16", "fp16"))


def _instructions(machine: Machine) -> str:
    if machine.bf16:
        return f"{machine.name} has {machine.bf16}"
    return f"{machine.name} has {machine.vectors or 'no known vector instructions'} and none for bfloat16"
