"""What trying out an LLM has found, kept for the next start: the same LLM, libraries and kind of machine find the same.

Kept for LLMs that are frozen and read from files, which have fingerprints; in the folder ``tried`` of the asset cache,
a file of some hundred bytes each. Only what was found is kept, never a refusal.
"""

import inspect
import json
import os
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nemo_vtb.assets.cache import cache_root
from nemo_vtb.modules import proof
from nemo_vtb.modules.proof import Proof

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM

_LIBRARIES = ("torch", "transformers", "peft", "torchao", "nemo_toolkit")


@dataclass(frozen=True)
class Tried:
    """What a trial has set in a backbone.

    Attributes:
        packing: See ``Proof``.
        by_llm: Whether the LLM's own forward pass gives the logits.
        pads: See ``Proof``.
        caches: Whether a cache of Transformers stands for what was said before.
        embed_factor: Between table and layers.
        seconds: What finding out took.
    """

    packing: str
    by_llm: bool
    pads: bool
    caches: bool
    embed_factor: float
    seconds: float


def trial_of(model: "SALM") -> Path | None:
    """The file for the trial of a model's LLM as it stands; None where it may be another LLM at every start."""
    parts = {name: model.frozen_fingerprints.get(name) for name in ("llm", "embed_tokens")}
    if None in parts.values() or model.backbone.tensor_parallel or _trains_more_than_lora(model):
        return None
    llm = model.backbone.causal_lm
    about = {
        "weights": parts,
        "types": sorted({str(parameter.dtype) for parameter in llm.parameters()}),
        "class": f"{type(llm).__module__}.{type(llm).__qualname__}",
        "config": llm.config.to_dict(),
        "lora": _plain(model.cfg, "lora"),
        "quantization": _plain(model.cfg, "quantization"),
        "gated": model.gated,
        "attention": model.backbone.attention,
        "device": _device(model.backbone.device),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
        "source": [_digest(Path(sys.modules[name].__file__ or "")) for name in _code(llm, model.backbone)],
    }
    key = sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    return cache_root() / "tried" / f"{key[:32]}.json"


def recall(model: "SALM", file: Path | None) -> Proof | None:
    """Sets a backbone to what was found before; None where nothing was, or the file cannot be read."""
    if file is None:
        return None
    try:
        found = Tried(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    backbone = model.backbone
    backbone.packing, backbone.embed_factor = found.packing, found.embed_factor
    backbone.head.by_llm, backbone.pads, backbone.caches = found.by_llm, found.pads, found.caches
    return Proof(found.packing, "llm" if found.by_llm else "config", found.pads, found.seconds)


def remember(model: "SALM", file: Path | None, found: Proof) -> None:
    """Keeps what was found, where the cache can be written to."""
    if file is None:
        return
    backbone = model.backbone
    kept = Tried(found.packing, found.head == "llm", found.pads, backbone.caches, backbone.embed_factor, found.seconds)
    unfinished = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(asdict(kept)) + "\n", encoding="utf-8")
        unfinished.replace(file)


def _trains_more_than_lora(model: "SALM") -> bool:
    return any(
        parameter.requires_grad and ".lora_" not in name
        for name, parameter in model.backbone.causal_lm.named_parameters()
    ) or any(parameter.requires_grad for parameter in model.embed_tokens.parameters())


def _code(llm: Any, backbone: Any) -> list[str]:
    """Modules of which a change may change what is found: the family's, those of the backbone, and of the trial."""
    of_parts = {type(part).__module__ for part in llm.modules()}
    ours = {name for name in sys.modules if name.startswith(f"{proof.__name__.rpartition('.')[0]}.")}
    return sorted(
        name
        for name in {*of_parts, *ours, type(backbone).__module__}
        if name in sys.modules and inspect.getattr_static(sys.modules[name], "__file__", None)
    )


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _plain(cfg: Mapping[str, Any], key: str) -> str:
    return str(cfg.get(key))


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
