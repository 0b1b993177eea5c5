"""What a measurement was taken with: versions, machine, command, seed."""

import math
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import nemo_vtb

PACKAGES = ("nemo_toolkit", "lhotse", "torch", "transformers", "peft")


def environment(command: str, seed: int, chosen: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Describes the running environment, for a report.

    Args:
        command: The command line that is being measured.
        seed: The seed it runs with.
        chosen: What was computed with: ``precision``, ``attention`` and ``threads``, each with the reason.

    Returns:
        ``versions`` by package (None where a package is not installed), ``host`` with ``cpu`` and ``cores``
        (those this process may use), ``device``, ``command``, ``seed`` and ``date`` (UTC, ISO 8601, to the second),
        and ``chosen`` where it is given, as texts.
    """
    said = {} if chosen is None else {"chosen": {name: str(choice) for name, choice in chosen.items()}}
    return {
        "versions": {"nemo-vtb": nemo_vtb.__version__, "python": platform.python_version()}
        | {package: _version(package) for package in PACKAGES},
        "host": {"cpu": cpu_model(), "cores": usable_cores()},
        "device": _device(),
        "command": command,
        "seed": seed,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **said,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The name of the processor."""
    return listed_of_cpu("model name") or platform.processor() or platform.machine()


def listed_of_cpu(*names: str) -> str:
    """What Linux lists of the processor under one of some names; empty where an architecture has none, or elsewhere."""
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in names and value.strip():
                return value.strip()
    return ""


def usable_cores() -> int:
    """The cores this process may use: its affinity, and no more than a container's quota of processor time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    return f"CPU, {torch.get_num_threads()} threads"
