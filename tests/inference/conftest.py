from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture(scope="package")
def gated(slim_cfg: Callable[..., dict[str, Any]]) -> Any:
    """A tiny model whose LoRA does much, and keeps out of conversations without audio."""
    import torch

    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    torch.manual_seed(1)
    model = VoiceTextBlender(slim_cfg(text_lora="audio_gated")).eval()
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.normal_(parameter, std=0.3)
        elif ".layers." in name and ".lora_" not in name and parameter.ndim > 1 and name.startswith("llm."):
            # As they are drawn, small, the model repeats the token that it was given.
            parameter.data *= 10
    return model


@pytest.fixture(scope="package")
def lines(clips: list[SimpleNamespace]) -> list[str]:
    """Typed turns; the first recording comes third."""
    return [
        "Hello.",
        "And how are you?",
        f"What is said here? @{clips[0].path}",
        "Say it again.",
        f"@{clips[1].path} And here? @{clips[0].path}, I mean.",
        "Thank you.",
    ]
