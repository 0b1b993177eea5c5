"""What the machine computes with: its processor's instructions, its GPU, cores and memory, and a measured rate."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import torch

from nemo_vtb.reports.environment import cpu_model, listed_of_cpu, usable_cores

# A matrix product as an LLM of some hundred million parameters has it: rows of tokens, hidden size, MLP.
_ROWS, _HIDDEN, _WIDE = 512, 576, 1536
_SECONDS = 0.1
# Where a processor's flags name arithmetic in bfloat16 -> what people call it.
_BF16_FLAGS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "bf16": "Arm BF16"}
_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "Arm NEON"}


@dataclass(frozen=True)
class Machine:
    """A device that a run may use.

    Attributes:
        device: ``cpu``, ``cuda`` or another of PyTorch's device types.
        name: Of the processor or GPU.
        bf16: What gives it arithmetic in bfloat16; empty where it has none.
        vectors: The widest instructions of a processor.
        capability: Of an NVIDIA GPU, e.g. ``(9, 0)``.
        flash: Packages of FlashAttention that it can use, best first.
        cores: Of the processor, that this process may use.
        free_bytes: Of its memory.
        rates: GFLOP/s of one core in matrix products by type, where they were measured.
    """

    device: str
    name: str
    bf16: str = ""
    vectors: str = ""
    capability: tuple[int, int] = (0, 0)
    flash: tuple[str, ...] = ()
    cores: int = 1
    free_bytes: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)


@cache
def look(device: str = "cpu", measured: bool = True) -> Machine:
    """Looks at a device once in the life of a process.

    Args:
        device: ``cpu`` or ``cuda``; of others nothing is known but their name.
        measured: Whether a processor's rates are measured, which takes some tenths of a second on one core.
    """
    if device == "cuda":
        return _gpu()
    if device != "cpu":
        return Machine(device, device, cores=usable_cores(), free_bytes=_free_memory())
    # x86 has them under the first name, Arm under the second.
    flags = set(listed_of_cpu("flags", "Features").split())
    machine = Machine(
        "cpu",
        cpu_model(),
        bf16=", ".join(name for flag, name in _BF16_FLAGS.items() if flag in flags),
        vectors=next((name for flag, name in _VECTORS.items() if flag in flags), ""),
        cores=usable_cores(),
        free_bytes=_free_memory(),
    )
    return replace(machine, rates=matrix_rates()) if measured else machine


def default_device() -> str:
    """The device type that Lightning's ``accelerator: auto`` takes."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def matrix_rates() -> dict[str, float]:
    """Measures matrix products on one core, in its own processor time, so that other work does not move it.

    Returns:
        GFLOP/s of ``float32`` and ``bfloat16``.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {str(dtype).removeprefix("torch."): _rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    finally:
        torch.set_num_threads(threads)


def parameter_count(folder: str | Path) -> int | None:
    """Counts the parameters in a folder's safetensors from their headers; None where it has none."""
    from safetensors import safe_open

    total = 0
    for path in sorted(Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                count = 1
                for size in file.get_slice(name).get_shape():
                    count *= size
                total += count
    return total or None


def _rate(dtype: torch.dtype) -> float:
    rows, weight = torch.randn(_ROWS, _HIDDEN).to(dtype), torch.randn(_WIDE, _HIDDEN).to(dtype)
    torch.nn.functional.linear(rows, weight)
    best, until = float("inf"), time.monotonic() + _SECONDS
    while best == float("inf") or time.monotonic() < until:
        began = time.thread_time()
        torch.nn.functional.linear(rows, weight)
        best = min(best, time.thread_time() - began)
    return round(2 * _ROWS * _HIDDEN * _WIDE / max(best, 1e-9) / 1e9, 1)


def _gpu() -> Machine:
    if not torch.cuda.is_available():
        return Machine("cuda", "a GPU that is not here", cores=usable_cores())
    from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

    capability = torch.cuda.get_device_capability()
    flash = []
    if capability >= (8, 0) and is_flash_attn_2_available():
        flash.append("flash_attention_2")
    if capability[0] == 9 and is_flash_attn_3_available():
        flash.append("flash_attention_3")
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Machine(
        "cuda",
        torch.cuda.get_device_name(),
        bf16=f"compute capability {capability[0]}.{capability[1]}" if bf16 else "",
        capability=capability,
        flash=tuple(flash),
        cores=usable_cores(),
        free_bytes=torch.cuda.mem_get_info()[0],
    )


def _free_memory() -> int:
    """Bytes that this process may still take, a container's limit included."""
    import psutil

    free = psutil.virtual_memory().available
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = (group / "memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return free
    return free if limit == "max" else min(free, max(0, int(limit) - int(used)))
