"""What a recording says of itself and what it really holds; each way of being bad has its name."""

import re
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import soundfile
import torch
from lhotse import AudioSource, MonoCut, Recording
from lhotse.cut import Cut
from lhotse.utils import compute_num_samples

from nemo_vtb.data.files.rows import BadRow

# A manifest may claim a little more than the file holds: codecs round to frames. The paper's recipe allows the same.
TOLERANCE_SECONDS = 0.3
# What libsndfile says of a WAV whose header promises another number of bytes than follow.
_PROMISED = re.compile(r"^data : (\d+) \(should be (\d+)\)", re.MULTILINE)
# Written by programs that could not know the length: a promise of nothing.
_UNKNOWN_BYTES = 0x7FFF_0000


class Described(NamedTuple):
    """What a header says."""

    rate: int
    samples: int
    channels: int


def describe(file: str | Path | IO[bytes], name: str) -> Described:
    """Reads the header of a recording.

    Args:
        file: A path, or an open file.
        name: What the recording is called in messages.

    Raises:
        BadRow: If it is no audio, empty, or a WAV that was cut short.
    """
    try:
        info = soundfile.info(file, verbose=True)
        found = Described(int(info.samplerate), int(info.frames), int(info.channels))
    except Exception as error:
        found = _by_lhotse(file, name, error)
    else:
        promised = _PROMISED.search(info.extra_info)
        if promised and int(promised[2]) < int(promised[1]) < _UNKNOWN_BYTES:
            raise BadRow("truncated audio", f"{name} holds {promised[2]} of {promised[1]} bytes of samples")
    if found.samples <= 0 or found.rate <= 0 or found.channels <= 0:
        raise BadRow("zero length", f"{name} holds no samples")
    return found


def signal(cut: Cut, rate: int, name: str) -> torch.Tensor:
    """Reads the samples of a clip.

    Args:
        cut: The clip.
        rate: Sampling rate to return, in Hz.
        name: What the clip is called in messages.

    Returns:
        float32 ``(samples,)``, the mean of the channels.

    Raises:
        BadRow: If it cannot be read, holds less than it should, or samples that are no numbers.
    """
    audio = _plain_span(cut, rate)
    try:
        audio = cut.resample(rate).load_audio() if audio is None else audio
    except Exception as error:
        reason = "truncated audio" if _begins_well(cut) else "unreadable audio"
        raise BadRow(reason, f"audio {name} cannot be read: {error}") from error
    if audio.shape[1] == 0:
        raise BadRow("zero length", f"audio {name} holds no samples")
    if audio.shape[1] < (cut.duration - TOLERANCE_SECONDS) * rate:
        raise BadRow("truncated audio", f"audio {name} holds {audio.shape[1] / rate:.2f} of {cut.duration:.2f} s")
    if not np.isfinite(audio).all():
        raise BadRow("not finite", f"audio {name} holds samples that are not numbers")
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


def _by_lhotse(file: str | Path | IO[bytes], name: str, error: Exception) -> Described:
    """Formats that libsndfile does not know, such as m4a."""
    try:
        if not isinstance(file, (str, Path)):
            raise error
        recording = Recording.from_file(file)
        return Described(recording.sampling_rate, recording.num_samples, recording.num_channels)
    except Exception as other:
        raise BadRow("unreadable audio", f"{name} cannot be read as audio: {other}") from error


def _begins_well(cut: Any) -> bool:
    """Whether the first samples can be read: then it is the rest that is missing."""
    try:
        source = cut.recording.sources[0]._prepare_for_reading(0.0, None)
        with soundfile.SoundFile(source) as file:
            return len(file.read(256, dtype="float32")) > 0
    except Exception:
        return False
