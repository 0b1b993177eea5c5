"""Recording from a microphone, where there is one and the package sounddevice."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from nemo_vtb.inference.audio_input import Sound


def record(most_seconds: float, rate: int, until: Callable[[str], str] | None) -> "Sound":
    """Records one channel.

    Args:
        most_seconds: How long at most.
        rate: In Hz.
        until: Asks for the line that ends the recording; None records ``most_seconds``.

    Raises:
        VTBError: If there is no microphone, or no sounddevice.
    """
    from nemo_vtb.inference.audio_input import read_sound

    try:
        import sounddevice
    except (ImportError, OSError) as error:  # without PortAudio it is an OSError
        raise VTBError(f"/audio needs sounddevice and PortAudio: pip install sounddevice ({error})") from error
    parts: list[np.ndarray] = []

    def keep(block: np.ndarray, *_: Any) -> None:
        if sum(map(len, parts)) < most_seconds * rate:
            parts.append(block[:, 0].copy())

    try:
        with sounddevice.InputStream(samplerate=rate, channels=1, dtype="float32", callback=keep):
            if until is None:
                sounddevice.sleep(round(most_seconds * 1000))
            else:
                until("recording; Enter ends it ")
    except sounddevice.PortAudioError as error:
        raise VTBError(f"cannot record: {error}") from error
    if not parts:
        raise VTBError("the microphone gave nothing")
    return read_sound((np.concatenate(parts), rate), rate, name="your recording")
