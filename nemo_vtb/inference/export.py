"""``vtb export``: a checkpoint as safetensors, in the forms that NeMo, vLLM's NeMo plugin and PEFT read."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf, open_dict
from torch import nn

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.turn_mask import end_of_turn_id

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


def export(checkpoint: str, form: str, out: str, dtype: str = "bfloat16") -> list[str]:
    """Writes a checkpoint as a folder.

    Args:
        checkpoint: A ``.ckpt`` file.
        form: ``hf``: all weights with LoRA beside, for ``VoiceTextBlender.from_pretrained`` and NeMo's vLLM plugin,
            which merges it. ``merged``: the same with LoRA in the LLM's weights. ``adapter``: what was trained, LoRA as
            PEFT has it.
        out: The folder.
        dtype: Of the stored weights.

    Returns:
        Notes for the user.

    Raises:
        VTBError: If the checkpoint is none, or its LoRA was never trained.
    """
    from nemo_vtb.models.checkpoint import load_checkpoint

    model = load_checkpoint(checkpoint).float()
    _require_trained_lora(model, checkpoint)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    notes: list[str] = []
    if form == "adapter":
        _save_adapter(model, folder, getattr(torch, dtype))
        return notes
    if form == "merged":
        if model.gated:
            notes.append("LoRA is in the weights now and acts on text too, where model.text_lora kept it out")
        merge_lora(model)
    _save_whole(model, folder, dtype)
    return notes


def merge_lora(model: "VoiceTextBlender") -> None:
    """Adds LoRA to the LLM's weights and takes it out of model and config.

    Raises:
        VTBError: If the model has no LoRA.
    """
    if not hasattr(model.llm, "peft_config"):
        raise VTBError("nothing to merge: the checkpoint has no LoRA; use --to hf")
    model.llm = model.llm.merge_and_unload(safe_merge=True)
    # PEFT leaves its mark on the model it was taken off.
    del model.llm.peft_config
    model.gated = False
    with open_dict(model.cfg):
        model.cfg.pop("lora")
        model.cfg.pop("text_lora", None)


def _require_trained_lora(model: nn.Module, checkpoint: str) -> None:
    ups = [p for name, p in model.named_parameters() if ".lora_B." in name]
    if ups and not any(p.any() for p in ups):
        raise VTBError(f"{checkpoint}: every LoRA up-projection is zero, as before training; nothing was learnt")


def _save_whole(model: "VoiceTextBlender", folder: Path, dtype: str) -> None:
    config: dict[str, Any] = OmegaConf.to_container(model.cfg, resolve=True)
    config |= {"dtype": dtype, "torch_dtype": dtype}
    if "pretrained_weights" in config["perception"]["encoder"]:
        # NeMo's vLLM plugin builds this section as it stands, where the encoder's own folder may not be.
        config["perception"]["encoder"]["pretrained_weights"] = False
    model.to(getattr(torch, dtype))
    model.save_pretrained(folder, config=config)
    from nemo.collections.speechlm2.parts.hf_hub import LLM_BACKBONE_DIR

    # The names NeMo's own export has, which `from_pretrained` looks for beside the weights.
    model.backbone.causal_lm.config.save_pretrained(folder / LLM_BACKBONE_DIR)
    model.tokenizer.tokenizer.save_pretrained(folder)
    stops = sorted({model.text_eos_id, end_of_turn_id(model.formatter)})
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}) + "\n")


def _save_adapter(model: "VoiceTextBlender", folder: Path, dtype: torch.dtype) -> None:
    from safetensors.torch import save_file

    config: dict[str, Any] = OmegaConf.to_container(model.cfg, resolve=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    trained = set(model.trainable_names)
    if hasattr(model.llm, "peft_config"):
        trained -= {name for name in trained if ".lora_" in name}
        # The embeddings are not in the LLM here, so PEFT cannot look whether they were trained; they are not.
        model.llm.to(dtype).save_pretrained(folder, save_embedding_layers=False)
    state = {name: tensor for name, tensor in model.state_dict().items() if name in trained}
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in state.items()}, folder / "speech.safetensors")
