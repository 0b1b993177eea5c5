"""``model.init_from``: a new run that begins with the weights another one trained."""

from typing import TYPE_CHECKING, Any

from nemo.utils import logging
from torch import nn

from nemo_vtb.errors import VTBError
from nemo_vtb.models.checkpoints.backend import backend_of, for_hugging_face, for_megatron
from nemo_vtb.models.checkpoints.contents import check_shapes, fingerprint_frozen
from nemo_vtb.models.checkpoints.slim import read_trained, steps_before, steps_of
from nemo_vtb.modules.llm.waiting import take_instead, waiting
from nemo_vtb.parts.lora import check_same_lora

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM


def init_from(model: "SALM", path: str) -> None:
    """Takes over every trained weight that the model has a place for, and says what begins anew.

    Weights the other run did not train begin as the config makes them: LoRA after a run of the adapter alone, say.
    Optimizer, schedule, steps, place in the data and random numbers are those of a new run.

    Args:
        model: Newly built.
        path: A ``.ckpt`` file, a folder of ``vtb export --to slim``, or ``shipped``.

    Raises:
        VTBError: If it is no checkpoint of ours, stands on other frozen weights, or trained what the model has not.
    """
    checkpoint = read_trained(path)
    if not isinstance(checkpoint, dict) or "vtb" not in checkpoint or "state_dict" not in checkpoint:
        raise VTBError(f"model.init_from={path}: this is not a checkpoint of VoiceTextBlender")
    try:
        checkpoint = _for_own_backend(model, checkpoint)
        _check(model, checkpoint)
    except VTBError as error:
        raise VTBError(f"model.init_from={path}: {error}") from error
    state = checkpoint["state_dict"]
    own = set(model.state_dict())
    model.steps_before = steps_of(checkpoint) + steps_before(checkpoint)
    # The model's own way refuses a state that leaves anything unset.
    take_instead(model, state)
    here = set(state) & own - set(waiting(model))
    nn.Module.load_state_dict(model, {name: state[name] for name in here}, strict=False)
    trained = set(checkpoint["vtb"]["trained"])
    taken = sorted(trained & set(model.trainable_names))
    new = sorted(set(model.trainable_names) - set(state))
    logging.info(
        f"nemo_vtb: {len(taken)} trained weights of {', '.join(_parts(taken)) or 'nothing'} come from {path} "
        f"(step {steps_of(checkpoint)}); optimizer, schedule, steps, place in the data and random numbers begin anew"
        + (f", and so do {len(new)} weights it has not trained, e.g. {new[0]}" if new else "")
    )


def _for_own_backend(model: "SALM", checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint as the model's LLM backend has it, this rank's part of the weights."""
    ours = model.cfg.get("llm_backend") or "hf"
    if backend_of(checkpoint) != ours:
        size = model.cfg.get("tensor_model_parallel_size") or 1
        checkpoint = for_hugging_face(checkpoint) if ours == "hf" else for_megatron(checkpoint, size)
    return {**checkpoint, "state_dict": model.backbone.own_state(checkpoint["state_dict"])}


def _check(model: "SALM", checkpoint: dict[str, Any]) -> None:
    section = checkpoint.get("hyper_parameters", {}).get("cfg") or {}
    check_same_lora(section.get("lora"), model.cfg.get("lora"))
    state, trained = checkpoint["state_dict"], set(checkpoint["vtb"]["trained"])
    # The alignment loss is a help in training: a run without it needs nothing of it.
    lost = sorted(name for name in trained - set(model.state_dict()) if not name.startswith("alignment."))
    if lost:
        hint = " (model.lora has other targets here, or is not given)" if "lora_" in lost[0] else ""
        raise VTBError(f"{len(lost)} weights it trained have no place in this config, e.g. {lost[0]}{hint}")
    check_shapes(model, state)
    theirs, ours = checkpoint["vtb"]["frozen"], fingerprint_frozen(model, besides=trained)
    for part, digest in theirs.items():
        if ours.get(part, digest) != digest:
            raise VTBError(
                f"it stands on other frozen weights of '{part}' than this config names "
                f"(fingerprint {digest[:12]}, here {ours[part][:12]})"
            )
    if not set(model.trainable_names) & set(state):
        raise VTBError("nothing it holds is trained here")


def _parts(names: list[str]) -> list[str]:
    """What these weights belong to, in a reader's words."""
    parts = ("LoRA" if "lora_" in name else name.split(".modality_adapter")[0].split(".")[0] for name in names)
    return sorted({"the adapter" if part == "perception" else part for part in parts})
