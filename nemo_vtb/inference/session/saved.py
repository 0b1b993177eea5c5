"""Turns as OpenAI-shaped content: as it is in memory, and as it is written to a file."""

import base64
import io
from typing import Any

import numpy as np

from nemo_vtb.inference.audio_input import Sound
from nemo_vtb.inference.session.messages import Turn


def content_of(turn: Turn) -> str | list[dict[str, Any]]:
    """The content of a message; recordings are parts of type ``audio``."""
    if not turn.sounds:
        return "".join(map(str, turn.parts))
    return [
        {"type": "audio", "audio": part} if isinstance(part, Sound) else {"type": "text", "text": part}
        for part in turn.parts
    ]


def content_to_save(turn: Turn) -> str | list[dict[str, Any]]:
    """The content of a message with its recordings in base64, as OpenAI's clients send them."""
    if not turn.sounds:
        return "".join(map(str, turn.parts))
    return [
        {"type": "input_audio", "input_audio": {"data": _as_wav(part), "format": "wav"}, "name": part.name}
        if isinstance(part, Sound)
        else {"type": "text", "text": part}
        for part in turn.parts
    ]


def wav_of(sound: Sound) -> bytes:
    """A recording as a WAV file of 32-bit floats: what the model hears, sample for sample."""
    import soundfile

    file = io.BytesIO()
    length = max(1, round(sound.seconds * sound.rate))
    soundfile.write(file, np.asarray(sound.samples[:length]), sound.rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def _as_wav(sound: Sound) -> str:
    return base64.b64encode(wav_of(sound)).decode()
