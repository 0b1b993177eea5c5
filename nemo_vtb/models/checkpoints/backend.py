"""A checkpoint of one LLM backend read for the other: LoRA's weights, names and settings, nothing else.

From megatron-core to Hugging Face the function is the same at the same rank; the other way the rank grows, since three
factors A cannot be one (``nemo_vtb.modules.megatron.convert``). States of an optimizer belong to the weights they were
made with and are left out.
"""

from typing import Any

from nemo_vtb.assets.resolve import resolve
from nemo_vtb.errors import VTBError

_KEYS = ("llm_backend", "tensor_model_parallel_size", "sequence_parallel")


def backend_of(checkpoint: dict[str, Any]) -> str:
    """The LLM backend a checkpoint was trained on."""
    return _section(checkpoint).get("llm_backend") or "hf"


def for_hugging_face(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint for ``model.llm_backend: hf``; itself where it is of that.

    Args:
        checkpoint: See ``nemo_vtb.models.checkpoints.slim.read_trained``.
    """
    if backend_of(checkpoint) == "hf":
        return checkpoint
    from nemo_vtb.modules.megatron.convert import lora_to_hugging_face, names_to_hugging_face, to_hugging_face

    section = {key: value for key, value in _section(checkpoint).items() if key not in _KEYS}
    if section.get("lora") is not None:
        section["lora"] = lora_to_hugging_face(section["lora"])
    state = to_hugging_face(checkpoint["state_dict"], _llm_config(section))
    return _changed(checkpoint, section, state, names_to_hugging_face(checkpoint["vtb"]["trained"]))


def for_megatron(checkpoint: dict[str, Any], size: int) -> dict[str, Any]:
    """The checkpoint for ``model.llm_backend: megatron``.

    Args:
        checkpoint: See ``nemo_vtb.models.checkpoints.slim.read_trained``.
        size: Ranks that share the LLM.

    Raises:
        VTBError: If its LoRA cannot be said of the fused matrices.
    """
    was, own = backend_of(checkpoint), {"llm_backend": "megatron", "tensor_model_parallel_size": size}
    section = {**_section(checkpoint), **own}
    if was == "megatron":
        return _changed(checkpoint, section, checkpoint["state_dict"], checkpoint["vtb"]["trained"])
    from nemo_vtb.modules.megatron.convert import from_hugging_face, lora_from_hugging_face

    state, trained = checkpoint["state_dict"], checkpoint["vtb"]["trained"]
    lora = [name for name in trained if name.startswith("llm.") and ".lora_" in name]
    if other := [name for name in trained if name.startswith(("llm.", "embed_tokens.")) and name not in lora]:
        raise VTBError(f"model.llm_backend=megatron has LoRA alone trained of the LLM, and the checkpoint {other[0]}")
    if lora:
        targets = {name.split(".lora_")[0].rpartition(".")[2] for name in lora}
        section["lora"] = lora_from_hugging_face(section["lora"], sorted(targets))
    fused = from_hugging_face(state, _llm_config(section))
    kept = [name for name in trained if name not in lora]
    return _changed(checkpoint, section, fused, [*kept, *sorted(set(fused) - set(state))])


def _changed(
    checkpoint: dict[str, Any], section: dict[str, Any], state: dict[str, Any], trained: list[str]
) -> dict[str, Any]:
    rest = {key: value for key, value in checkpoint.items() if key not in ("optimizer_states", "lr_schedulers")}
    hyper_parameters = {**checkpoint["hyper_parameters"], "cfg": section}
    vtb = {**checkpoint["vtb"], "trained": trained}
    return {**rest, "hyper_parameters": hyper_parameters, "state_dict": state, "vtb": vtb}


def _section(checkpoint: dict[str, Any]) -> dict[str, Any]:
    return checkpoint.get("hyper_parameters", {}).get("cfg") or {}


def _llm_config(section: dict[str, Any]) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(resolve(section["pretrained_llm"]))
