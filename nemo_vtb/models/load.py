"""From a checkpoint on disk to the model it holds."""

from pathlib import Path
from typing import TYPE_CHECKING

from nemo_vtb.errors import VTBError
from nemo_vtb.models.checkpoints.slim import read_trained

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


def load_checkpoint(
    path: str | Path, device: str = "cpu", precision: str | None = None, quantized: bool = True
) -> "VoiceTextBlender":
    """Builds the model a checkpoint names and loads its trained weights.

    Args:
        path: A ``.ckpt`` file, or a folder of ``vtb export --to slim``.
        device: As PyTorch names it.
        precision: ``32-true`` or ``bf16-mixed``, to answer in; None leaves the weights as they are read.
        quantized: Whether an LLM that was quantised in training is quantised again; else it is whole.

    Raises:
        VTBError: If it is missing or is not a VoiceTextBlender checkpoint.
    """
    # Before the model's libraries are imported, which takes seconds and may print warnings.
    checkpoint = read_trained(path)
    from nemo_vtb.models.checkpoints.contents import check_checkpoint
    from nemo_vtb.models.prepare import compute_in
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    try:
        cfg, state = checkpoint["hyper_parameters"]["cfg"], checkpoint["state_dict"]
    except (KeyError, TypeError) as error:
        raise VTBError(f"{path} is not a VoiceTextBlender checkpoint: it has no {error}") from error
    if cfg.get("quantization") is not None and not quantized:
        cfg = {key: value for key, value in cfg.items() if key != "quantization"}
        checkpoint["hyper_parameters"]["cfg"] = cfg
        # It covers what was not quantised alone; the embeddings' own says which LLM it was.
        checkpoint["vtb"]["frozen"] = {part: d for part, d in checkpoint["vtb"]["frozen"].items() if part != "llm"}
    model = VoiceTextBlender(cfg)
    check_checkpoint(model, checkpoint)
    model.load_state_dict(state)
    model = model.to(device).eval()
    if precision is not None:
        compute_in(model, precision)
    return model
