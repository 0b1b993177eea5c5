"""What is done to the samples of a clip on the fly, by Lhotse's transforms: a room, noise, another level, a codec.

None of it changes how long a clip is; another speed does, and is a matter of its cut (``data/augmentation.py``).
"""

from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lhotse.audio.mixer import AudioMixer
from lhotse.augmentation import Compress, ReverbWithImpulseResponse

from nemo_vtb.data.audio.audio_check import signal
from nemo_vtb.data.audio.headers import header
from nemo_vtb.data.audio.recordings import file_source, recording_of

# Where ``custom`` has what was drawn.
AUGMENTED = "_augmented"
# A decibel of level is this power of ten.
_LEVEL = 1 / 20
# From a furnished room to a hall, and from a mouth near the microphone to one across the room.
_REVERB_SECONDS = (0.1, 0.8)
_DIRECT_DB = (-3.0, 12.0)


class Effect(NamedTuple):
    """One step of what is done to a clip.

    Attributes:
        name: ``reverb``, ``noise``, ``volume`` or ``codec``.
        amount: Decibels: of the level, or of the speech above the noise; compression from 0 to 1 for a codec.
        choice: A recording of a room or of noise, or the name of a codec.
        seed: Draws a room where there is no recording of one, and where in its recording the noise begins.
    """

    name: str
    amount: float = 0.0
    choice: str = ""
    seed: int = 0

    def __str__(self) -> str:
        """In a few words, for people."""
        unit = {"noise": " dB above ", "volume": " dB", "codec": " of "}.get(self.name)
        what = f"{self.amount:+.2g}" if self.name == "volume" else f"{self.amount:.3g}"
        choice = Path(self.choice).name or ("a drawn room" if self.name == "reverb" else "")
        return f"{self.name} {what}{unit}{choice}" if unit else f"{self.name} {choice}"


class Augmented(NamedTuple):
    """What was drawn for a conversation; it travels in ``custom``, in which rows may have fields of any name.

    Attributes:
        speed: Of all of its clips.
        effects: For each of its clips.
    """

    speed: float
    effects: list[tuple[Effect, ...]]


def augmented(conversation: Any) -> Augmented | None:
    """Returns what was drawn for a conversation; what its row has under that name is nothing drawn."""
    found = (getattr(conversation, "custom", None) or {}).get(AUGMENTED)
    return found if isinstance(found, Augmented) else None


def apply_effects(samples: torch.Tensor, rate: int, effects: tuple[Effect, ...]) -> torch.Tensor:
    """Returns a clip as the effects leave it.

    Args:
        samples: float32 ``(samples,)``.
        rate: Its sampling rate in Hz.
        effects: Applied one after another.

    Returns:
        float32 of the same length.

    Raises:
        BadRow: If a recording of noise or of a room cannot be read.
    """
    audio = samples.numpy()[None]
    for effect in effects:
        audio = _STEPS[effect.name](audio, rate, effect)[:, : len(samples)]
        audio = np.pad(audio, ((0, 0), (0, len(samples) - audio.shape[1])))
    return torch.from_numpy(np.ascontiguousarray(audio[0], dtype=np.float32))


def _reverb(audio: np.ndarray, rate: int, effect: Effect) -> np.ndarray:
    if effect.choice:
        room: Any = {"rir": _recording(effect.choice).resample(rate)}
    else:
        room = {"rir_generator": partial(_drawn_room, rate, effect.seed)}
    return ReverbWithImpulseResponse(**room)(audio, rate)


def _drawn_room(rate: int, seed: int, nsource: int = 1) -> np.ndarray:
    """Impulse responses by Polack's model: the direct sound, and noise that falls by 60 dB in a time that is drawn.

    Lhotse's own generator needs torchaudio, and draws from torch's global state.
    """
    random = np.random.default_rng(seed)
    falls, above = random.uniform(*_REVERB_SECONDS), random.uniform(*_DIRECT_DB)
    times = np.arange(1, int(falls * rate)) / rate
    tails = random.standard_normal((nsource, len(times))) * 10 ** (-3 * times / falls)
    tails *= np.sqrt(10 ** (-above / 10) / np.square(tails).sum(axis=1, keepdims=True))
    return np.concatenate([np.ones((nsource, 1)), tails], axis=1).astype(np.float32)


def _noise(audio: np.ndarray, rate: int, effect: Effect) -> np.ndarray:
    noise = _samples(effect.choice, rate)
    start = effect.seed % len(noise)
    around: np.ndarray = np.take(noise, np.arange(start, start + audio.shape[1]), mode="wrap")[None]
    mixer = AudioMixer(audio, rate)
    mixer.add_to_mix(around, snr=effect.amount)
    return mixer.mixed_mono_audio


def _volume(audio: np.ndarray, rate: int, effect: Effect) -> np.ndarray:
    return audio * np.float32(10 ** (effect.amount * _LEVEL))


def _codec(audio: np.ndarray, rate: int, effect: Effect) -> np.ndarray:
    return Compress(effect.choice, effect.amount)(audio.clip(-1, 1), rate)  # type: ignore[arg-type]


def _recording(path: str) -> Any:
    found = header(path, path, path)
    return recording_of(file_source(path, found), found)


@lru_cache(maxsize=128)
def _samples(path: str, rate: int) -> np.ndarray:
    return signal(_recording(path).to_cut(), rate, path).numpy()


_STEPS = {"reverb": _reverb, "noise": _noise, "volume": _volume, "codec": _codec}
EFFECTS = tuple(_STEPS)
