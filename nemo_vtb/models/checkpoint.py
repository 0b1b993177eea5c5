"""What a checkpoint holds, and whether one fits a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


def trainable_state(model: "VoiceTextBlender", state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keeps trainable parameters and buffers of a state dict."""
    keep = set(model.trainable_names) | {name for name, _ in model.named_buffers()}
    return {name: tensor for name, tensor in state.items() if name in keep}


def check_state_dict(model: "VoiceTextBlender", state: dict[str, Any]) -> None:
    """Refuses a state dict that would leave trained weights unset or unused.

    Raises:
        VTBError: Names an example of what is missing or unknown.
    """
    own = set(model.state_dict())
    unknown = sorted(set(state) - own)
    missing = sorted(set(model.trainable_names) - set(state))
    if unknown:
        hint = " (the config has no model.lora, the checkpoint has)" if "lora_" in unknown[0] else ""
        raise VTBError(f"the checkpoint has {len(unknown)} weights this config does not, e.g. {unknown[0]}{hint}")
    if missing:
        raise VTBError(f"the checkpoint lacks {len(missing)} trainable weights of this config, e.g. {missing[0]}")


def load_checkpoint(path: str | Path, device: str = "cpu") -> "VoiceTextBlender":
    """Builds the model a checkpoint names and loads its trained weights.

    Raises:
        VTBError: If the file is missing or is not a VoiceTextBlender checkpoint.
    """
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    if not Path(path).is_file():
        raise VTBError(f"no checkpoint at {path}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        cfg, state = checkpoint["hyper_parameters"]["cfg"], checkpoint["state_dict"]
    except Exception as error:
        raise VTBError(f"{path} is not a VoiceTextBlender checkpoint: {error}") from error
    model = VoiceTextBlender(cfg)
    model.load_state_dict(state)
    return model.to(device).eval()
