"""What a measurement was taken with: versions, machine, command, seed."""

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import nemo_vtb

PACKAGES = ("nemo_toolkit", "lhotse", "torch", "transformers", "peft")


def environment(command: str, seed: int) -> dict[str, Any]:
    """Describes the running environment, for a report.

    Args:
        command: The command line that is being measured.
        seed: The seed it runs with.

    Returns:
        ``versions`` by package (None where a package is not installed), ``host`` with ``cpu`` and ``cores``
        (those this process may use), ``device``, ``command``, ``seed`` and ``date`` (UTC, ISO 8601, to the second).
    """
    return {
        "versions": {"nemo-vtb": nemo_vtb.__version__, "python": platform.python_version()}
        | {package: _version(package) for package in PACKAGES},
        "host": {"cpu": _cpu_model(), "cores": _usable_cores()},
        "device": _device(),
        "command": command,
        "seed": seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    # Linux alone names the model here, and not on every architecture.
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return f"CPU, {torch.get_num_threads()} threads"
