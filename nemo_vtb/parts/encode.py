"""Running NeMo's perception module in two halves, over clips of any number, including none."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from nemo.collections.speechlm2.modules.perception import AudioPerceptionModule

_DUMMY_SECONDS = 0.2


def encoder_frames(perception: "AudioPerceptionModule", audios: Tensor, audio_lens: Tensor) -> tuple[Tensor, Tensor]:
    """Features and speech encoder only: ``(B, D, T)`` and lengths ``(B,)``. The half that may be cached."""
    signal, lengths = perception.preprocessor(input_signal=audios, length=audio_lens)
    if perception.spec_augmentation is not None and perception.training:
        signal = perception.spec_augmentation(input_spec=signal, length=lengths)
    return perception.encoder(audio_signal=signal, length=lengths)


def adapted_frames(perception: "AudioPerceptionModule", frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Modality adapter and projection: ``(B, D, T)`` to ``(B, T', H)`` and lengths ``(B,)``."""
    adapted, lengths = perception.modality_adapter(audio_signal=frames, length=lengths)
    return perception.proj(adapted.transpose(1, 2)), lengths


def dummy_zero(perception: "AudioPerceptionModule", sampling_rate: int, device: torch.device) -> Tensor:
    """A scalar of exactly zero that has run the whole perception module.

    On a batch without audio it keeps every rank in step: each parameter takes part in the gradient reduction and each
    shard in its collectives. Evaluation mode during the run leaves batch statistics and the random state alone.
    """
    silence = torch.zeros(1, int(_DUMMY_SECONDS * sampling_rate), device=device)
    with evaluation_mode(perception):
        frames, _ = perception(
            input_signal=silence, input_signal_length=torch.tensor([silence.shape[1]], device=device)
        )
    return frames.float().nan_to_num(0.0, 0.0, 0.0).sum() * 0.0


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Puts every submodule in evaluation mode and gives each its own mode back."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
