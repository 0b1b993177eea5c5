"""Useful arithmetic of a joint step, the same for every arm: none of it is padding."""

from typing import Any

# Dense bfloat16, without sparsity, from the vendor's data sheets.
PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
FORMULA = (
    "per position: 2 * LLM layer weights forward and as many backward (frozen weights get no gradient), "
    "6 * LoRA weights; per supervised position: 4 * head weights; "
    "per encoder frame: 2 * encoder layer weights (6 where they train); per adapter frame: 6 * adapter weights; "
    "attention within a conversation: 6 * length^2 * attention width per layer (causal, forward and backward); "
    "not counted: encoder attention, convolutions of the subsampling, the optimizer"
)


def peak_flops(device_name: str) -> float | None:
    """Peak of a GPU by its name, or None where it is not known."""
    return next((tera * 1e12 for name, tera in PEAK_TFLOPS.items() if name in device_name), None)


def useful_flops(model: Any, lengths: list[Any], frame_seconds: float) -> float:
    """FLOPs of one training step over conversations; see ``FORMULA``.

    Args:
        model: A VoiceTextBlender.
        lengths: ``step_mix.Length`` of each.
        frame_seconds: Audio per adapter frame.
    """
    layers = model.backbone.causal_lm.model.layers
    config = model.backbone.causal_lm.config
    lora = sum(p.numel() for name, p in layers.named_parameters() if "lora_" in name)
    frozen = sum(p.numel() for name, p in layers.named_parameters() if "lora_" not in name)
    head = model.backbone.causal_lm.lm_head.weight.numel()
    width = config.num_attention_heads * getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
    positions = sum(length.total for length in lengths)
    squares = sum(length.total**2 for length in lengths)
    targets = sum(length.supervised for length in lengths)
    frames = sum(length.audio_seconds for length in lengths) / frame_seconds
    llm = positions * (4 * frozen + 6 * lora) + targets * 4 * head + len(layers) * 6 * width * squares
    return llm + frames * (_encoder(model.perception.encoder) + 6 * _count(model.perception.modality_adapter))


def _encoder(encoder: Any) -> float:
    layers = getattr(encoder, "layers", None) or encoder.encoder.layers
    trains = any(p.requires_grad for p in encoder.parameters())
    # Whisper's layers run at four times the rate of the adapter's frames.
    return (6 if trains else 2) * _count(layers) * (4 if hasattr(encoder, "encoder") else 1)


def _count(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())
