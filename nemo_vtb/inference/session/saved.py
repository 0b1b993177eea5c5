"""Turns as OpenAI-shaped content: as it is in memory, and as it is written to a file."""

import base64
import io
from typing import Any

import numpy as np

from nemo_vtb.inference.audio_input import Sound
from nemo_vtb.inference.session.messages import Turn


def content_of(turn: Turn, saved: bool = False) -> str | list[dict[str, Any]]:
    """The content of a message.

    Args:
        turn: What is said.
        saved: Whether recordings are written in base64, as OpenAI's clients send them; else they are parts of type
            ``audio``, as they are in memory.
    """
    if not turn.sounds:
        return "".join(map(str, turn.parts))
    return [_part(part, saved) if isinstance(part, Sound) else {"type": "text", "text": part} for part in turn.parts]


def wav_of(sound: Sound) -> bytes:
    """A recording as a WAV file of 32-bit floats: what the model hears, sample for sample."""
    import soundfile

    file = io.BytesIO()
    length = max(1, round(sound.seconds * sound.rate))
    soundfile.write(file, np.asarray(sound.samples[:length]), sound.rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def _part(sound: Sound, saved: bool) -> dict[str, Any]:
    if not saved:
        return {"type": "audio", "audio": sound}
    data = base64.b64encode(wav_of(sound)).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}, "name": sound.name}
