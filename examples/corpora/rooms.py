"""Rooms and noise for spoken clips, by the effects that training can also draw on the fly (``augment``).

A frozen encoder's frames are computed once a clip; what should be heard in a room is therefore kept as it sounds there.
"""

import os
from pathlib import Path
from random import Random

import numpy as np
import soundfile
import torch

from nemo_vtb.data.audio.augment_audio import Effect, apply_effects
from nemo_vtb.synthesis.voices.light import speak

SAMPLE_RATE = 16_000
NOISES = ("hum.flac", "babble.flac")
_SECONDS = 30
_SPEAKERS = ("flite:slt", "flite:rms", "flite:awb", "hibari:heart")
_IN_A_ROOM, _IN_NOISE = 0.25, 0.25
# Of the speech above the noise.
_DECIBELS = (6.0, 24.0)


def drawn_room(rng: Random) -> dict:
    """Where a row sounds, for its ``custom``: ``room``, the seed of a drawn one, and ``noise`` with ``snr``."""
    room = {"room": rng.getrandbits(31)} if rng.random() < _IN_A_ROOM else {}
    if rng.random() < _IN_NOISE:
        room |= {"noise": rng.choice(NOISES), "snr": round(rng.uniform(*_DECIBELS), 1)}
    return room


def in_room(audio: np.ndarray, drawn: dict, noises: Path) -> np.ndarray:
    """A clip ``(samples,)`` at ``SAMPLE_RATE`` as it sounds where ``drawn`` says; ``noises`` holds the recordings."""
    effects = [Effect("reverb", seed=drawn["room"])] if "room" in drawn else []
    if "noise" in drawn:
        effects.append(Effect("noise", drawn["snr"], str(noises / drawn["noise"]), seed=len(audio) * 7919))
    if not effects:
        return audio
    heard = apply_effects(torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32)), SAMPLE_RATE, tuple(effects))
    return np.clip(heard.numpy(), -1, 1)


def make_noises(folder: Path, sentences: list[str], seed: int) -> None:
    """Writes what is missing of ``NOISES``: noise that falls by 3 dB an octave, and eight people who talk at once."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, made in (("hum.flac", _hum), ("babble.flac", _babble)):
        path = folder / name
        if not path.exists():
            audio = made(sentences, seed)
            partial = path.with_suffix(f".{os.getpid()}")
            soundfile.write(partial, 0.3 * audio / np.abs(audio).max(), SAMPLE_RATE, format="FLAC")
            os.replace(partial, path)


def _hum(sentences: list[str], seed: int) -> np.ndarray:
    samples = _SECONDS * SAMPLE_RATE
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 20 * _SECONDS))
    return np.fft.irfft(spectrum, samples)


def _babble(sentences: list[str], seed: int) -> np.ndarray:
    rng, mixed = Random(seed), np.zeros(_SECONDS * SAMPLE_RATE)
    for number in range(8):
        voice, pitch = _SPEAKERS[number % len(_SPEAKERS)], rng.uniform(0.9, 1.1)
        said = np.zeros(0)
        while len(said) < len(mixed):
            said = np.concatenate([said, speak(rng.choice(sentences), voice, 1.0, pitch, SAMPLE_RATE)])
        mixed += said[: len(mixed)]
    return mixed
