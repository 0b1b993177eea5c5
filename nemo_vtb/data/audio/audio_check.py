"""The samples of a clip; each way of being bad has its name."""

import re
from typing import Any

import numpy as np
import soundfile
import torch
from lhotse import AudioSource, MonoCut
from lhotse.cut import Cut
from lhotse.utils import compute_num_samples

from nemo_vtb.data.audio.headers import TOLERANCE_SECONDS
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.host_errors import first_line

# 20 dB above full scale: no microphone, but 16-bit integers kept as floats, or one stray value.
LOUDEST = 10.0
# 70 dB below full scale: nothing that anybody could hear.
SILENCE = 3e-4
# Lhotse says of each library in turn why it failed; the first is the one that is asked to read.
_FIRST_LIBRARY = re.compile(r"^Exception #0 \(.*?\): (?:<class '[^']*'>: )?(.+)$", re.MULTILINE)


def signal(cut: Cut, rate: int, name: str) -> torch.Tensor:
    """Reads the samples of a clip.

    Args:
        cut: The clip.
        rate: Sampling rate to return, in Hz.
        name: What the clip is called in messages.

    Returns:
        float32 ``(samples,)``, the mean of the channels.

    Raises:
        BadRow: If it cannot be read, holds less than it should, or samples that are no numbers or no sound.
    """
    audio = _plain_span(cut, rate)
    try:
        audio = cut.resample(rate).load_audio() if audio is None else audio
    except Exception as error:
        reason = "truncated audio" if _begins_well(cut) else "unreadable audio"
        raise BadRow(reason, f"audio {name} cannot be read: {_why(error)}") from error
    if audio.shape[1] == 0:
        raise BadRow("zero length", f"audio {name} holds no samples")
    if audio.shape[1] < (cut.duration - TOLERANCE_SECONDS) * rate:
        raise BadRow("truncated audio", f"audio {name} holds {audio.shape[1] / rate:.2f} of {cut.duration:.2f} s")
    low, high = float(audio.min()), float(audio.max())
    if not np.isfinite((low, high)).all():
        raise BadRow("not finite", f"audio {name} holds samples that are not numbers")
    if max(-low, high) > LOUDEST:
        raise BadRow("far too loud", f"audio {name} holds samples from {low:.3g} to {high:.3g}; full scale is -1 to 1")
    return torch.from_numpy(audio.mean(axis=0) if len(audio) > 1 else audio[0])


def _plain_span(cut: Cut, rate: int) -> np.ndarray | None:
    """The samples of a span of a file with one channel at the right rate, ``(1, samples)``; None for all else.

    Lhotse asks each of its backends whether it feels responsible, for every clip anew.
    """
    recording = cut.recording if isinstance(cut, MonoCut) else None
    if recording is None or recording.transforms or recording.sampling_rate != rate or len(recording.sources) != 1:
        return None
    source = recording.sources[0]
    if type(source) is not AudioSource or source.type != "file":
        return None
    try:
        with soundfile.SoundFile(source.source) as file:
            if file.samplerate != rate or file.channels != 1:
                return None
            if cut.start > 0:  # a compressed file takes its time even to go where it is
                file.seek(compute_num_samples(cut.start, rate))
            audio = file.read(cut.num_samples, dtype="float32")
    except Exception:  # another backend may know the format; if none does, it says why
        return None
    return audio[None] if len(audio) == cut.num_samples else None


def _why(error: Exception) -> str:
    """What a library says, without the pages around it."""
    said = _FIRST_LIBRARY.search(str(error))
    return said[1].strip() if said else first_line(error)


def _begins_well(cut: Any) -> bool:
    """Whether the first samples can be read: then it is the rest that is missing."""
    try:
        source = cut.recording.sources[0]._prepare_for_reading(0.0, None)
        with soundfile.SoundFile(source) as file:
            return len(file.read(256, dtype="float32")) > 0
    except Exception:
        return False
