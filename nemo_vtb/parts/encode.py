"""Running NeMo's perception module in two halves, over clips of any number, including none."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from nemo_vtb.parts.eval_mode import evaluating

if TYPE_CHECKING:
    from nemo.collections.speechlm2.modules.perception import AudioPerceptionModule

_DUMMY_SECONDS = 0.2
# What one more call of the encoder costs, in seconds of padding it may save.
_CALL_SECONDS = 4.0


def encoder_frames(perception: "AudioPerceptionModule", audios: Tensor, audio_lens: Tensor) -> tuple[Tensor, Tensor]:
    """Features, unaugmented, and speech encoder only: ``(B, D, T)`` and lengths ``(B,)``. The half that is cached."""
    signal, lengths = perception.preprocessor(input_signal=audios, length=audio_lens)
    return perception.encoder(audio_signal=signal, length=lengths)


def adapted_frames(perception: "AudioPerceptionModule", frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Modality adapter and projection: ``(B, D, T)`` to ``(B, T', H)`` and lengths ``(B,)``."""
    adapted, lengths = perception.modality_adapter(audio_signal=frames, length=lengths)
    return perception.proj(adapted.transpose(1, 2)), lengths


def sub_batches(seconds: Sequence[float], most_seconds: float) -> list[list[int]]:
    """Groups clips of like length so that padding and calls together cost least.

    Args:
        seconds: Length of each clip.
        most_seconds: Padded length a group may have; a longer clip stands alone.

    Returns:
        Indices of the clips of each group, longest clips first.
    """
    order = sorted(range(len(seconds)), key=lambda i: -seconds[i])
    longest = np.array([seconds[i] for i in order])
    best: np.ndarray = np.zeros(len(order) + 1)
    cut: np.ndarray = np.zeros(len(order) + 1, dtype=int)
    for end in range(1, len(order) + 1):
        padded = longest[:end] * (end - np.arange(end))
        cost = best[:end] + padded + _CALL_SECONDS
        cost[: end - 1][padded[: end - 1] > most_seconds] = np.inf
        cut[end] = int(cost.argmin())
        best[end] = cost[cut[end]]
    groups, end = [], len(order)
    while end:
        groups.append(order[cut[end] : end])
        end = int(cut[end])
    return groups[::-1]


def learns_batch_statistics(module: nn.Module) -> bool:
    """Whether a batch norm in training mode looks at what is encoded together."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training for part in module.modules())


def no_frames(perception: "AudioPerceptionModule", sampling_rate: int, device: torch.device) -> Tensor:
    """No frames at all, ``(0, H)``, from a dummy clip that has run the whole perception module.

    On a batch without audio it keeps every rank in step: spliced in like any frames, it gives each parameter its
    gradient of zero and lets each shard take part in its collectives, in the same order as where there is audio.
    Evaluation mode during the run leaves batch statistics and the random state alone.
    """
    silence = torch.zeros(1, int(_DUMMY_SECONDS * sampling_rate), dtype=torch.float32, device=device)
    with evaluating(perception):
        frames, _ = perception(
            input_signal=silence, input_signal_length=torch.tensor([silence.shape[1]], device=device)
        )
    return frames[0, :0]
