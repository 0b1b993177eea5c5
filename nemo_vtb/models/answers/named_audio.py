"""The recordings that turns of a prompt name, in SALM's form."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nemo_vtb.data.audio.one_channel import Sound, decode_sound, sound_of_samples
from nemo_vtb.errors import VTBError


def audios_of_turns(
    prompts: Iterable[Iterable[Mapping[str, Any]]], rate: int, device: torch.device
) -> tuple[Tensor, Tensor] | None:
    """Decodes what stands under ``audio`` in the turns: one recording or a list of them.

    Args:
        prompts: Conversations of turns. A recording is a path, or ``(samples, rate)``.
        rate: Of the model, in Hz.
        device: Where the clips go.

    Returns:
        Clips ``(clips, samples)``, padded with zeros, and their lengths ``(clips,)``; None where there are none.

    Raises:
        VTBError: If one of them is missing or is no recording.
    """
    named = [turn["audio"] for prompt in prompts for turn in prompt if turn.get("audio") is not None]
    sounds = [_sound(clip, rate) for clips in named for clip in (clips if isinstance(clips, list) else [clips])]
    if not sounds:
        return None
    return padded_clips([sound.samples for sound in sounds], device)


def padded_clips(samples: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Clips ``(clips, samples)``, padded with zeros, and their lengths ``(clips,)``."""
    audios = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(clip) for clip in samples], batch_first=True)
    lengths = torch.tensor([len(clip) for clip in samples])
    return audios.to(device, non_blocking=True), lengths.to(device, non_blocking=True)


def _sound(clip: Any, rate: int) -> Sound:
    if isinstance(clip, tuple) and len(clip) == 2:
        return sound_of_samples(np.asarray(clip[0]), int(clip[1]), rate, "the recording")
    if not isinstance(clip, (str, Path)):
        raise VTBError(f"audio is {type(clip).__name__}; a turn names paths, or (samples, rate)")
    if not Path(clip).is_file():
        raise VTBError(f"no recording at {clip}")
    return decode_sound(clip, rate, str(clip))
