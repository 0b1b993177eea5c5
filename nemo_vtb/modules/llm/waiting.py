"""An LLM whose weights wait in their files until every rank knows which rows of them are its own.

Built whole, the LLM would stand in the memory of the host once for every rank of it, before sharding makes most of that
superfluous. Within ``weights_may_wait`` it is built on PyTorch's meta device instead, by Transformers' own loading.
Each parameter remembers where its values are, and ``fill_waiting`` reads what a rank keeps of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.llm.in_files import InMemory, Source, sources_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MAY_WAIT: ContextVar[bool] = ContextVar("vtb_weights_may_wait", default=False)
# On a parameter: where its values are.
_SOURCE = "_vtb_source"
# Ways to begin LoRA that need nothing of the weight it is put beside.
_BLIND = ("True", "False", "None", "gaussian")
_SEEING = ("use_dora", "modules_to_save", "target_parameters", "trainable_token_indices", "layer_replication")


@contextmanager
def weights_may_wait(wait: bool = True) -> Iterator[None]:
    """Lets the weights of an LLM that is built within the block wait until ``nemo_vtb.models.prepare`` shards it."""
    token = _MAY_WAIT.set(wait)
    try:
        yield
    finally:
        _MAY_WAIT.reset(token)


def may_wait() -> bool:
    """Whether whoever builds the LLM will fill it later."""
    return _MAY_WAIT.get()


def check_may_wait(cfg: Mapping[str, Any]) -> None:
    """Refuses where a section ``model`` needs the LLM's weights while it is built.

    Raises:
        VTBError: Names the key.
    """
    lora = cfg.get("lora") or {}
    asked = {f"model.lora.{key}": lora[key] for key in _SEEING if lora.get(key)}
    if cfg.get("quantization") is not None:
        asked["model.quantization"] = cfg["quantization"]
    if str(lora.get("init_lora_weights", True)) not in _BLIND:
        asked["model.lora.init_lora_weights"] = lora["init_lora_weights"]
    if lora.get("bias", "none") != "none":
        asked["model.lora.bias"] = lora["bias"]
    for key, value in asked.items():
        raise VTBError(f"{key}={value} needs them whole")


def have_wait(llm: "PreTrainedModel", files: str | Path) -> None:
    """Gives every parameter of an LLM on the meta device its place in a file, and makes its buffers.

    Args:
        llm: From ``from_pretrained(..., device_map="meta")``, before anything is changed about it.
        files: Its folder, or the hub id that it was read from.

    Raises:
        VTBError: Says what cannot be read in parts.
    """
    sources = sources_of(llm, files)
    for name, parameter in llm.named_parameters():
        if name not in sources or not parameter.ndim:
            raise VTBError(f"{name} is {'a single number' if name in sources else 'in none of its files'}")
        setattr(parameter, _SOURCE, sources[name])
    _make_buffers(llm, sources)


def is_waiting(what: Any) -> bool:
    """Whether a parameter waits for its values, or any of a module."""
    parameters = what.parameters() if isinstance(what, nn.Module) else [what]
    return any(hasattr(parameter, _SOURCE) for parameter in parameters)


def values_of(parameter: Any) -> Tensor:
    """All values of a parameter, read for this one time where they wait."""
    source: Source | None = getattr(parameter, _SOURCE, None)
    return parameter.detach() if source is None else source.whole()


def take_instead(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Has waiting parameters wait for what another run made of them."""
    for name, parameter in module.named_parameters():
        if name in state and hasattr(parameter, _SOURCE):
            setattr(parameter, _SOURCE, InMemory(state[name]))


@contextmanager
def stand_ins(module: nn.Module) -> Iterator[None]:
    """Has parameters of no memory on the host in place of waiting ones, for what is put beside them to be made there.

    PEFT moves LoRA to where the weight is that it adapts, and on the meta device what it has drawn would be lost.
    """
    made: dict[int, nn.Parameter] = {}
    places: list[tuple[nn.Module, str, nn.Parameter]] = []
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None and hasattr(parameter, _SOURCE):
                empty = torch.zeros((), dtype=parameter.dtype).expand(parameter.shape)
                places.append((part, name, parameter))
                part._parameters[name] = made.setdefault(
                    id(parameter), nn.Parameter(empty, requires_grad=parameter.requires_grad)
                )
    try:
        yield
    finally:
        for part, name, parameter in places:
            parameter.requires_grad_(made[id(parameter)].requires_grad)
            part._parameters[name] = parameter


def waiting(module: nn.Module) -> dict[str, Source]:
    """Where the values of waiting parameters are, by name: sharding replaces parameters and keeps their names."""
    return {name: getattr(p, _SOURCE) for name, p in module.named_parameters() if hasattr(p, _SOURCE)}


@torch.no_grad()
def fill_waiting(
    module: nn.Module, sources: Mapping[str, Source], units: Iterable[nn.Module], device: torch.device
) -> None:
    """Reads what this rank keeps of parameters that are on the meta device.

    Args:
        module: Has every parameter that is named in ``sources``, sharded by FSDP2 or not.
        sources: From ``waiting``, before it was sharded.
        units: Modules outside of ``module`` that FSDP2 knows some of its parameters by.
        device: Where whatever is not sharded is to be.
    """
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    shared = _places(module)
    for unit in (*units, module):
        unit._apply(_emptied(device))
    # PyTorch makes a parameter for each module that holds it; FSDP2 keeps to its own, which are DTensors.
    for (first, own), *others in shared:
        for part, name in others:
            if not isinstance(first._parameters[own], DTensor):
                part._parameters[name] = first._parameters[own]
    for name, parameter in module.named_parameters():
        source = sources.get(name)
        if source is None:
            continue
        if not isinstance(parameter, DTensor):
            parameter.copy_(source.whole())
            continue
        local = parameter.to_local()
        if local.numel():
            shape, offset = compute_local_shape_and_global_offset(
                parameter.shape, parameter.device_mesh, parameter.placements
            )
            local.copy_(source.rows(offset[0], shape[0]))


def _places(module: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """Where each parameter is held: the modules, with the name there."""
    held: dict[int, list[tuple[nn.Module, str]]] = {}
    for part in module.modules():
        for name, parameter in part._parameters.items():
            held.setdefault(id(parameter), []).append((part, name))
    return list(held.values())


def _emptied(device: torch.device) -> Callable[[Tensor], Tensor]:
    def emptied(tensor: Tensor) -> Tensor:
        return torch.empty_like(tensor, device=device) if tensor.is_meta else tensor

    return emptied


@torch.no_grad()
def _make_buffers(llm: "PreTrainedModel", sources: Mapping[str, Source]) -> None:
    """Reads the buffers that stand in a file and has Transformers make the others, as it does for any LLM it loads.

    Raises:
        VTBError: Names one that neither gives a value.
    """
    from transformers import PreTrainedModel

    made: dict[str, Tensor] = {}
    for path, part in llm.named_modules():
        for own, buffer in list(part.named_buffers(recurse=False)):
            name = f"{path}.{own}" if path else own
            source = sources.get(name)
            if source is not None:
                part._buffers[own] = source.whole().clone()
                # What Transformers' own initialisation leaves alone.
                part._buffers[own]._is_hf_initialized = True  # type: ignore[union-attr]
            elif own in part._non_persistent_buffers_set:
                empty = torch.empty_like(buffer, device="cpu")
                made[name] = part._buffers[own] = empty.fill_(torch.nan) if empty.is_floating_point() else empty
            else:
                raise VTBError(f"the buffer {name} is in none of its files")
    owners = {path: part for path, part in llm.named_modules() if isinstance(part, PreTrainedModel)}
    with torch.random.fork_rng(devices=[]):
        for path, part in reversed(list(llm.named_modules())) if made else ():
            around = max((name for name in owners if f"{path}.".startswith(f"{name}." if name else "")), key=len)
            owners[around]._init_weights(part)
    if left := [name for name, buffer in made.items() if buffer.is_floating_point() and buffer.isnan().any()]:
        raise VTBError(f"Transformers makes no values for the buffer {left[0]}")
