"""VoiceTextBlender for NVIDIA NeMo: joint speech-text supervised fine-tuning of a large language model.

The public names load on first use, so that ``import nemo_vtb`` stays cheap. With the first one, whatever a config may
name is registered with NeMo and Lightning, so that a script may build its trainer before its model.
"""

from importlib import import_module
from typing import Any

from nemo_vtb import moved

moved.install()

__version__ = "0.1.0"

_PUBLIC = {
    "ChatSession": "nemo_vtb.inference.chat",
    "VTBDataModule": "nemo_vtb.data.datamodule",
    "VTBDataset": "nemo_vtb.data.dataset",
    "VTBError": "nemo_vtb.errors",
    "VoiceTextBlender": "nemo_vtb.models.voice_text_blender",
}
__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'nemo_vtb' has no attribute '{name}'")
    if name != "VTBError":
        import_module("nemo_vtb.registry").register()
    return getattr(import_module(_PUBLIC[name]), name)
