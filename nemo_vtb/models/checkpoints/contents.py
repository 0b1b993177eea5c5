"""What a checkpoint holds, and whether one fits a model.

It is the same under every strategy: whole tensors, optimizer states by parameter name, the random states of all ranks.
Frozen weights that were read from a file are named and fingerprinted, not copied.
"""

import json
import re
from collections.abc import Container, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import torch
from nemo.utils import logging
from omegaconf import OmegaConf
from torch import Tensor, nn

from nemo_vtb.data.inspection.trained_on import trained_on
from nemo_vtb.errors import VTBError
from nemo_vtb.models.checkpoints.random_state import random_state
from nemo_vtb.modules.alignment import REMEMBERED
from nemo_vtb.modules.llm.waiting import is_waiting, values_of
from nemo_vtb.modules.lora.shifted import INITIAL
from nemo_vtb.modules.quantized import is_quantized
from nemo_vtb.optim.build import settings_of
from nemo_vtb.optim.resume import check_optimizer
from nemo_vtb.parts.lora import check_same_lora
from nemo_vtb.parts.ranks import said_by_all

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM

_SAMPLES = 4096
# What PEFT puts between a module's name and its weights, once for each adapter around it.
_WRAPPED = re.compile(r"\.(base_layer|original_module)(?=\.)")
# Where the frozen weights of each part came from, in the config's words.
_ORIGIN = {"llm": "pretrained_llm", "embed_tokens": "pretrained_llm", "perception": "pretrained_asr"}


def fingerprint_frozen(model: nn.Module, besides: Container[str] | None = None) -> dict[str, str]:
    """Fingerprints of the frozen weights by part of the model.

    Up to 4096 evenly spaced elements of every tensor go in, rounded to bfloat16, with its name and shape: a fine-tuned
    sibling is told apart, while the dtype of loading and PEFT's wrapping make no difference. Quantised weights are left
    out: another card may round them in another way.

    Args:
        model: The model.
        besides: Names of what another run trained: the fingerprints are those it would have had.

    Returns:
        ``{part: SHA-256}`` for the parts that have frozen weights. Call it before weights are sharded.
    """
    digests: dict[str, Any] = {}
    for name, shape, picked in sorted(_frozen(model, besides), key=lambda sampled: sampled[0]):
        digest = digests.setdefault(name.split(".", 1)[0], sha256())
        digest.update(f"{name} {shape} ".encode())
        digest.update(picked.to(torch.bfloat16).view(torch.int16).cpu().numpy().tobytes())
    return {part: digest.hexdigest() for part, digest in digests.items()}


def _frozen(model: nn.Module, besides: Container[str] | None) -> Iterator[tuple[str, tuple[int, ...], Tensor]]:
    """Name, shape and samples of every frozen weight."""
    # An LLM that is cut over ranks is known by its files, whatever the number of ranks.
    in_files = getattr(getattr(model, "llm", None), "samples_of_llm", None)
    for full_name, parameter in model.named_parameters():
        trained = parameter.requires_grad if besides is None else full_name in besides or "lora_" in full_name
        if trained or (parameter.is_meta and not is_waiting(parameter)) or is_quantized(parameter):
            continue
        if in_files is not None and full_name.startswith(("llm.", "embed_tokens.")):
            continue
        flat = values_of(parameter).reshape(-1)
        # A copy: a view would hold the file of a weight that waits in one until all are looked at.
        picked = flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES].clone()
        yield _without_peft(full_name), tuple(parameter.shape), picked
    if in_files is not None:
        yield from in_files(_SAMPLES)


def complete_checkpoint(model: "SALM", checkpoint: dict[str, Any]) -> None:
    """Turns what Lightning collected into our format; every rank takes part.

    Args:
        model: The model being saved.
        checkpoint: Lightning's dict, changed in place.
    """
    checkpoint["state_dict"] = model.backbone.whole_state(kept_state(model, checkpoint["state_dict"]))
    trainer = model._trainer
    checkpoint["vtb"] = {
        "trained": list(model.trainable_names),
        "frozen": model.frozen_fingerprints,
        "steps_before": model.steps_before,
        "max_steps": trainer.max_steps if trainer is not None else -1,
        "precision": trainer.precision if trainer is not None else None,
        "blend": (blend := _blend(trainer)),
        "trained_on": blend and _stated(json.dumps(blend)),
    }
    if "optimizer_states" not in checkpoint:
        return
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for optimizer, state in zip(trainer.optimizers, checkpoint["optimizer_states"], strict=True):
        own = [names[id(p)] for group in optimizer.param_groups for p in group["params"]]
        # Lightning's FSDP2 strategy numbers the parameters as if the optimizer had all of them.
        _name_optimizer_state(state, list(names.values()) if hasattr(type(trainer.strategy), "device_mesh") else own)
        if state:
            state["state"] = model.backbone.whole_moments(state["state"])
    checkpoint["vtb"]["random_states"] = said_by_all(random_state())
    checkpoint["vtb"]["settings"] = settings_of(model)
    loop = checkpoint["loops"]["fit_loop"]
    _finish_batch(loop["epoch_loop.batch_progress"])
    # Likewise counted after the hook: loggers would put the resumed run's numbers one step to the left.
    loop["epoch_loop.state_dict"]["_batches_that_stepped"] = checkpoint["global_step"]


def kept_state(model: "SALM", state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keeps trainable parameters and buffers of a state dict; everything where frozen weights stand in no file."""
    if not model.frozen_from_file:
        return state
    keep = set(model.trainable_names) | {name for name, _ in model.named_buffers()}
    return {name: tensor for name, tensor in state.items() if name in keep}


def check_checkpoint(model: "SALM", checkpoint: dict[str, Any]) -> None:
    """Refuses a checkpoint of another model, or of other frozen weights.

    Raises:
        VTBError: Says what differs and how to mend it.
    """
    ours = checkpoint.get("vtb")
    if ours is None:
        raise VTBError("this is not a checkpoint of VoiceTextBlender: it has no 'vtb' entry")
    section = checkpoint.get("hyper_parameters", {}).get("cfg") or {}
    was, now = section.get("llm_backend", "hf"), model.cfg.get("llm_backend", "hf")
    if section and was != now:
        raise VTBError(
            f"model.llm_backend is {now}, and the checkpoint's LoRA is that of {was}: go on with {was}; to begin a new "
            "run from its weights, set model.init_from to its path"
        )
    check_same_lora(section.get("lora"), model.cfg.get("lora"))
    check_same_lora(section.get("encoder_lora"), model.cfg.get("encoder_lora"), "model.encoder_lora")
    if section and section.get("quantization") != model.cfg.get("quantization"):
        raise VTBError(
            f"model.quantization is {model.cfg.get('quantization')}, the checkpoint was trained with "
            f"{section.get('quantization')}, on another LLM in effect: set it to that"
        )
    check_optimizer(model, checkpoint)
    _compare_names(set(ours["trained"]), set(model.trainable_names), "trains")
    for part, digest in ours["frozen"].items():
        if model.frozen_fingerprints.get(part, digest) != digest:
            key = _ORIGIN.get(part, part)
            raise VTBError(
                f"the checkpoint stands on other frozen weights of '{part}' than model.{key}={model.cfg.get(key)} has "
                f"(fingerprint {digest[:12]}, here {model.frozen_fingerprints[part][:12]}); name the ones it trained on"
            )


def take_own_moments(model: "SALM", checkpoint: dict[str, Any]) -> None:
    """Keeps of whole optimizer states what belongs to this rank's parameters."""
    for state in checkpoint.get("optimizer_states", ()):
        state["state"] = model.backbone.own_moments(state["state"])


def check_state_dict(model: nn.Module, state: dict[str, Any]) -> None:
    """Refuses a state dict that would leave trained weights unset or unused.

    Raises:
        VTBError: Names an example of what is missing or unknown.
    """
    own, found = model.state_dict(), _without_memory(state)
    known = found & set(own)
    # PiSSA and OLoRA are trained against what they began with, which no file but this one has.
    began = {name for name in own if f".{INITIAL}." in name}
    _compare_names(found, known | set(getattr(model, "trainable_names", own)) | began, "has")
    check_shapes(model, state)


def check_shapes(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Refuses weights of another shape.

    Raises:
        VTBError: Names an example.
    """
    own = model.state_dict()
    other = [name for name in sorted(_without_memory(state) & set(own)) if state[name].shape != own[name].shape]
    if other:
        theirs, ours = (tuple(of[other[0]].shape) for of in (state, own))
        raise VTBError(
            f"{len(other)} weights of the checkpoint have another shape than this config gives them, e.g. {other[0]}: "
            f"{theirs} there, {ours} here; give model the sizes it was trained with"
        )


def _without_memory(state: Mapping[str, Tensor]) -> set[str]:
    """Names without the alignment loss's memory, of which a run takes what fits."""
    return {name for name in state if name != f"alignment.{REMEMBERED}"}


def _blend(trainer: Any) -> dict[str, Any] | None:
    """The data's section ``blend`` as plain values; None where there is none."""
    data = getattr(getattr(trainer, "datamodule", None), "cfg", None)
    blend = OmegaConf.select(data, "train_ds.blend") if OmegaConf.is_config(data) else None
    return None if blend is None else OmegaConf.to_container(blend, resolve=True)


@lru_cache(maxsize=1)
def _stated(blend: str) -> dict[str, Any] | None:
    """What the data's own cards state, read once a run; None, said once, where one of them cannot be read."""
    try:
        return trained_on(json.loads(blend))
    except VTBError as error:
        logging.warning(f"nemo_vtb: checkpoints of this run do not state the licences of their data: {error}")
        return None


def _compare_names(theirs: set[str], ours: set[str], verb: str) -> None:
    unknown, missing = sorted(theirs - ours), sorted(ours - theirs)
    if unknown:
        hint = _about_lora(unknown, ours, "the config has no model.lora, the checkpoint has")
        raise VTBError(f"the checkpoint {verb} {len(unknown)} weights this config does not, e.g. {unknown[0]}{hint}")
    if missing:
        hint = _about_lora(missing, theirs, "the checkpoint has no LoRA, the config has model.lora")
        raise VTBError(f"the checkpoint lacks {len(missing)} trainable weights of this config, e.g. {missing[0]}{hint}")


def _about_lora(names: list[str], others: set[str], none: str) -> str:
    """What is behind names that one side has and the other has not."""
    if "lora_" not in names[0]:
        return ""
    there = any("lora_" in name for name in others)
    return f" ({'model.lora.target_modules is not what it was trained with' if there else none})"


def _name_optimizer_state(state: dict[str, Any], names: list[str]) -> None:
    """Replaces positions by parameter names, as FSDP2 has them, so that either can load the other's."""
    if not state or any(isinstance(key, str) for group in state["param_groups"] for key in group["params"]):
        return
    state["state"] = {names[key]: value for key, value in state["state"].items()}
    for group in state["param_groups"]:
        group["params"] = [names[key] for key in group["params"]]


def _finish_batch(progress: dict[str, Any]) -> None:
    """Counts the batch whose end the save hook runs in.

    Lightning counts it right after the hook; a run resumed from here would be one batch behind, and with accumulated
    gradients step too early.
    """
    for counts in (progress["total"], progress["current"]):
        counts["completed"] = counts["processed"]


def _without_peft(name: str) -> str:
    return _WRAPPED.sub("", name.replace("llm.base_model.model.", "llm."))
