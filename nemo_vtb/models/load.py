"""From a checkpoint on disk to the model it holds."""

from pathlib import Path
from typing import TYPE_CHECKING

from nemo_vtb import start
from nemo_vtb.errors import VTBError
from nemo_vtb.models.checkpoints.slim import read_trained

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


def load_checkpoint(
    path: str | Path,
    device: str = "cpu",
    precision: str | None = None,
    quantized: bool = True,
    tensor_parallel: int | None = None,
) -> "VoiceTextBlender":
    """Builds the model a checkpoint names and loads its trained weights.

    Args:
        path: A ``.ckpt`` file, or a folder of ``vtb export --to slim``.
        device: As PyTorch names it.
        precision: ``32-true`` or ``bf16-mixed``, to answer in; None leaves the weights as they are read.
        quantized: Whether an LLM that was quantised in training is quantised again; else it is whole.

        tensor_parallel: Over how many ranks the LLM is cut on megatron-core; None runs it with Hugging Face here,
            whichever it was trained with.

    Raises:
        VTBError: If it is missing or is not a VoiceTextBlender checkpoint.
    """
    # Before the model's libraries are imported, which takes seconds and may print warnings.
    checkpoint = read_trained(path)
    from nemo_vtb.models.checkpoints.backend import backend_of, for_hugging_face, for_megatron
    from nemo_vtb.models.checkpoints.contents import check_checkpoint
    from nemo_vtb.models.prepare import compute_in
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender
    from nemo_vtb.parts.ranks import said_by_first

    try:
        cfg, state = checkpoint["hyper_parameters"]["cfg"], checkpoint["state_dict"]
    except (KeyError, TypeError) as error:
        raise VTBError(f"{path} is not a VoiceTextBlender checkpoint: it has no {error}") from error
    if tensor_parallel is not None or backend_of(checkpoint) != "hf":
        checkpoint = (
            for_hugging_face(checkpoint) if tensor_parallel is None else for_megatron(checkpoint, tensor_parallel)
        )
        cfg, state = checkpoint["hyper_parameters"]["cfg"], checkpoint["state_dict"]
    if cfg.get("quantization") is not None and not quantized:
        cfg = {key: value for key, value in cfg.items() if key != "quantization"}
        checkpoint["hyper_parameters"]["cfg"] = cfg
        # It covers what was not quantised alone; the embeddings' own says which LLM it was.
        checkpoint["vtb"]["frozen"] = {part: d for part, d in checkpoint["vtb"]["frozen"].items() if part != "llm"}
    kept = cfg.get("encoder_cache")
    if isinstance(kept, str) and not Path(kept).is_dir():
        # Where the run kept its frames; answers need no folder of that name where they are asked for.
        cfg = {**cfg, "encoder_cache": False}
        checkpoint["hyper_parameters"]["cfg"] = cfg
    model = VoiceTextBlender(cfg)
    check_checkpoint(model, checkpoint)
    model.load_state_dict(state)
    model = model.to(device).eval()
    if precision is not None:
        # Ranks that share the LLM may have measured themselves and chosen otherwise each.
        compute_in(model, said_by_first(precision))
    start.begun()
    return model
