"""When a model's LLM is tried out, and what is said about it; ``nemo_vtb.modules.proof`` does the trying."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nemo_vtb.models.tried import recall, remember, trial_of
from nemo_vtb.modules.llm.parts import family
from nemo_vtb.modules.llm.waiting import is_waiting
from nemo_vtb.modules.proof import Proof, check_lora_off, prove

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM


def try_out(model: "SALM", own_weights: Mapping[str, Tensor]) -> None:
    """Tries out the LLM of a model that was just built, or leaves it to ``try_out_on_device``.

    Args:
        model: Complete.
        own_weights: Of its LLM before LoRA; see ``nemo_vtb.modules.proof.weight_samples``.

    Raises:
        VTBError: Names the family and what fails, or what of the config needs an untouched LLM that is not there.
    """
    backbone = model.backbone
    model.untried = bool(model.options.prove)
    if not model.untried or is_waiting(model.llm):
        return
    if any(parameter.is_meta for parameter in model.llm.parameters()):
        model.untried = False
        return
    here = _runs_here(model)
    file = trial_of(model) if here else None
    before = recall(model, file)
    if hasattr(model.llm, "peft_config"):
        backbone.untouched = check_lora_off(backbone, own_weights, model.gated and here and before is None)
        relies = {
            "model.text_lora=audio_gated": model.gated,
            "model.text_kl": model.cfg.get("text_kl"),
            "model.spoken_kl": model.cfg.get("spoken_kl"),
            "model.retention": model.cfg.get("retention") is not None,
        }
        for key in (key for key, asked in relies.items() if asked):
            backbone.require_untouched(f"{key} needs the untouched LLM")
    if before is not None:
        model.untried = False
        _report(model, before, file)
    elif here:
        try_out_on_device(model)
        # Of another LoRA, which was refused above or is no gate, nothing is to be kept.
        if backbone.untouched is None:
            remember(model, file, model.proof)


def try_out_on_device(model: "SALM") -> None:
    """Tries the LLM out where it is now, once.

    Raises:
        VTBError: Names the family and what fails.
    """
    if model.untried:
        model.untried = False
        _report(model, prove(model.backbone))


def try_out_before_sharding(model: "SALM") -> None:
    """Tries the LLM out on the host; one whose weights wait in their files comes to that when it has its shards.

    Raises:
        VTBError: Names the family and what fails.
    """
    if is_waiting(model.llm):
        return
    attention = model.backbone.attention
    if model.untried and attention.startswith("flash"):
        model.backbone.causal_lm.set_attn_implementation("sdpa")
        try:
            try_out_on_device(model)
        finally:
            model.backbone.causal_lm.set_attn_implementation(attention)
    try_out_on_device(model)


def _runs_here(model: "SALM") -> bool:
    """Whether the model will run where it was built, as far as one can tell."""
    on_host = model.backbone.device.type == "cpu"
    return not (on_host and (torch.cuda.is_available() or model.backbone.attention.startswith("flash")))


def _report(model: "SALM", proof: Proof, before: Path | None = None) -> None:
    from nemo.utils import logging

    model.proof = proof
    name = family(model.backbone.causal_lm)
    if proof.packing == "apart":
        logging.warning(
            f"nemo_vtb: packed conversations would hear each other in the LLM {name}: each has a row of its own, "
            "padded to the longest of its batch; padding_share and conversations_per_row in the log say what that costs"
        )
    elif proof.packing == "segments":
        logging.info(f"nemo_vtb: packed conversations are kept apart by segment boundaries in the LLM {name}")
    if not proof.pads:
        logging.warning(f"nemo_vtb: the LLM {name} hears the padding of a batch: prompts are answered one by one")
    earlier = f", at an earlier start ({before})" if before else ""
    logging.info(f"nemo_vtb: the LLM {name} was tried out in {proof.seconds:.1f} s{earlier}")
