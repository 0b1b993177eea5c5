"""How long a quickstart will take here: the LLM's arithmetic, by the rate at which this machine multiplies matrices."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nemo_vtb.data.conversations.kinds import ALIGN
from nemo_vtb.parts.machine.choice import is_half
from nemo_vtb.parts.machine.hardware import Machine

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

# Of the rate in matrix products, what the LLM's own products come to over a whole stage: encoder, adapter, attention,
# validation and reading are in the rest. From the stages of examples/benchmarks/results/quickstart.json.
TRAINING_SHARE = 0.46
ASKING_SHARE = 0.44
# Positions of a held-out question and its answer, in the mean.
_POSITIONS = 60
# It is asked before and after.
_TIMES = 2


@dataclass(frozen=True)
class Forecast:
    """Seconds by stage.

    Attributes:
        training: The steps, with their validations.
        asking: The held-out questions, before and after.
        reason: What that was worked out from.
    """

    training: float
    asking: float
    reason: str

    def __str__(self) -> str:
        minutes = max(1, round((self.training + self.asking) / 60))
        return f"about {minutes} minute{'s' if minutes > 1 else ''} from here ({self.reason})"


def forecast(
    model: "VoiceTextBlender", cfg: Any, questions: int, machine: Machine, threads: int, precision: str
) -> Forecast | None:
    """Works out how long training and asking will take.

    Args:
        model: As built.
        cfg: The run's config, for steps and positions of a batch.
        questions: Asked before and after.
        machine: With its rates.
        threads: Of PyTorch.
        precision: Of the arithmetic.

    Returns:
        None where the rate is not known, as on a GPU.
    """
    rate = machine.rates.get("bfloat16" if is_half(precision) else "float32")
    if not rate or model.device.type != "cpu":
        return None
    cores = min(threads, machine.cores)
    weights = list(model.backbone.body.parameters())
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    frozen = sum(weight.numel() for weight in weights) - trained
    positions = cfg.trainer.max_steps * cfg.data.train_ds.batch_tokens
    aligned = positions * _aligned(cfg.data.train_ds.get("blend") or {})
    adapter = sum(weight.numel() for weight in model.perception.modality_adapter.parameters() if weight.requires_grad)
    # Forward and backward; what is frozen has no gradient of its own.
    training = ((positions - aligned) * (4 * frozen + 6 * trained) + aligned * 6 * adapter) / 1e9
    asking = _TIMES * questions * _POSITIONS * 2 * (frozen + trained) / 1e9
    speed = rate * cores
    return Forecast(
        training / (TRAINING_SHARE * speed),
        asking / (ASKING_SHARE * speed),
        f"{cfg.trainer.max_steps} steps are {training / 1e3:.0f} TFLOP, {questions} questions before and after "
        f"{asking / 1e3:.0f}; matrix products at {rate:.0f} GFLOP/s a core, {cores} core{'s' if cores > 1 else ''}",
    )


def _aligned(blend: Any) -> float:
    """Share of a batch's positions that the adapter alone hears."""
    shares = {kind: float(section.share) for kind, section in (blend.get("kinds") or {}).items()}
    return shares.get(ALIGN, 0.0) / sum(shares.values()) if blend.get("unit") == "total_tokens" else 0.0
