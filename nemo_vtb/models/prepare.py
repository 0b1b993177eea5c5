"""What happens to a model between its construction and its first step: casting, recomputation, compiling, sharding."""

from typing import TYPE_CHECKING

import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.models.proof import try_out_before_sharding, try_out_on_device
from nemo_vtb.modules.llm.parts import layers_of_body
from nemo_vtb.modules.llm.waiting import fill_waiting, waiting
from nemo_vtb.parts.machine.choice import AUTO, choose_attention, is_half
from nemo_vtb.parts.machine.hardware import look
from nemo_vtb.parts.machine.precision import narrow_frozen
from nemo_vtb.parts.recompute import layers_of, recompute_in_backward

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM


def prepare_for_trainer(model: "SALM") -> tuple[torch.dtype | None, bool]:
    """Prepares a model as its trainer and its options ask.

    Returns:
        The half precision of the arithmetic, None where the trainer itself sees to that, and whether it was sharded.

    Raises:
        VTBError: If the trainer asks for what cannot work.
    """
    on_gpu = model._trainer is None or model.trainer.strategy.root_device.type == "cuda"
    if model.backbone.attention == "flex_attention" and not on_gpu:
        raise VTBError("model.attn_implementation=flex_attention trains on a GPU only; leave it at auto")
    half = _half_precision(model)
    if model._trainer is not None:
        follow_machine(model, model.trainer.strategy.root_device.type, is_half(model.trainer.precision))
    if half is not None:
        narrow_frozen(model, half)
    layers = {
        "llm": layers_of(model.llm) or layers_of_body(model.backbone.body),
        "encoder": layers_of(model.perception),
    }
    for name in model.options.compile:
        for layer in layers[name]:
            # The call alone, not the module: what recomputes it and what gathers its shards cannot be traced.
            layer.forward = torch.compile(layer.forward, dynamic=True)
    for name in model.options.activation_checkpointing:
        recompute_in_backward(layers[name])
    sources = waiting(model)
    sharded = _shard(model)
    if sources:
        fill_waiting(model, sources, model.backbone.ends, _device(model, sharded))
        try_out_on_device(model)
    return half, sharded


def follow_machine(model: "SALM", device: str, half: bool) -> None:
    """Gives ``model.llm_dtype: auto`` and ``model.attn_implementation: auto`` what a device and a precision ask for.

    Args:
        model: Before it is sharded.
        device: A device type of PyTorch.
        half: Whether arithmetic is in half precision.
    """
    if model.options.llm_dtype == AUTO:
        for part in (model.llm, model.embed_tokens):
            narrow_frozen(part, torch.bfloat16 if half else torch.float32)
    # Hugging Face's own choice stands where an LLM cannot do with fused attention.
    if model.options.attn_implementation == AUTO and model.backbone.attention != "eager":
        wanted = choose_attention(look(device, measured=False), half).value
        if wanted != model.backbone.attention:
            model.backbone.causal_lm.set_attn_implementation(wanted)


def compute_in(model: "SALM", precision: str) -> None:
    """Prepares a model without a trainer to answer in a precision: ``32-true``, or ``bf16-mixed`` with narrow weights.

    Raises:
        VTBError: If it is another precision.
    """
    if precision not in ("32-true", "bf16-mixed"):
        raise VTBError(f"precision is {precision!r}; answers are computed in auto, 32-true or bf16-mixed")
    half = is_half(precision)
    narrow_frozen(model, torch.bfloat16 if half else torch.float32)
    model._half = torch.bfloat16 if half else None
    follow_machine(model, model.device.type, half)


def _half_precision(model: "SALM") -> torch.dtype | None:
    from lightning.pytorch.plugins import HalfPrecision
    from nemo.utils.trainer_utils import HalfPrecisionForAudio

    plugin = model.trainer.precision_plugin if model._trainer is not None else None
    if not isinstance(plugin, HalfPrecision):
        return None
    if not isinstance(plugin, HalfPrecisionForAudio):
        raise VTBError(
            f"trainer.precision={plugin.precision} as Lightning has it narrows the audio too; build the trainer from "
            "nemo.utils.trainer_utils.resolve_trainer_cfg, as NeMo's launchers and `vtb train` do"
        )
    return plugin._desired_input_dtype


def _device(model: "SALM", sharded: bool) -> torch.device:
    """Where FSDP2 puts shards; what is not sharded is with the other weights until the trainer comes."""
    if not sharded:
        return next(parameter.device for parameter in model.perception.parameters())
    kind = model.device_mesh.device_type
    return torch.device(kind, torch.cuda.current_device()) if kind == "cuda" else torch.device(kind)


def _shard(model: "SALM") -> bool:
    mesh = model.device_mesh
    if mesh is None or model.backbone.tensor_parallel:
        return False
    if mesh["tensor_parallel"].size() > 1:
        raise VTBError(
            "tensor parallelism is not supported: set trainer.strategy.tensor_parallel_size=1; NeMo 3.0.0's own fails "
            "with current transformers"
        )
    hybrid = "dp_replicate" in mesh.mesh_dim_names
    data = mesh["dp_replicate", "dp_shard"] if hybrid else mesh["data_parallel"]
    if data.size() == 1:
        return False
    if model.cfg.get("quantization") is not None:
        raise VTBError("model.quantization cannot be sharded: use trainer.strategy=ddp, a quantised LLM on each card")
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor

    try_out_before_sharding(model)
    model.backbone.shard(data)
    model.clip_encoder.shard(data)
    if model.alignment is not None:
        fully_shard(model.alignment, mesh=data)
    if whole := [name for name, p in model.named_parameters() if p.requires_grad and not isinstance(p, DTensor)]:
        raise VTBError(f"{len(whole)} trainable parameters are in no sharded unit, e.g. {whole[0]}")
    return True
