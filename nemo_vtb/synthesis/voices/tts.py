"""Text-to-speech back ends behind one small interface, and who speaks what.

Voices are named ``engine:voice``. To add an engine, write a class with the methods of ``Engine`` and a line in
``ENGINES``.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from random import Random
from typing import Any, Protocol

import numpy as np

from nemo_vtb.errors import VTBError


class Engine(Protocol):
    """Speaks sentences.

    Attributes:
        version: What rows name as their maker.
        has_speed: Whether ``speed`` changes anything.
    """

    version: str
    has_speed: bool

    def voices(self, language: str) -> Sequence[str]:
        """Returns the names of the voices of a language (ISO 639-1); none where it has none.

        Raises:
            VTBError: If a program the language needs is not installed.
        """
        ...

    def speak(self, text: str, voice: str, language: str, speed: float) -> tuple[np.ndarray, int]:
        """Speaks a sentence; the same call gives the same samples, or a resumed job would differ.

        Args:
            text: Words and punctuation, as ``speakable.spoken_form`` gives them.
            voice: One of ``voices``.
            language: Of the text.
            speed: Speaking rate, 1 as the voice has it.

        Returns:
            Float32 mono samples ``(samples,)`` and their rate in Hz.
        """
        ...


# Name -> where its class is; the class takes the settings under ``engines.NAME`` as keyword arguments.
ENGINES = {
    "hibari": "nemo_vtb.synthesis.voices.light:Hibari",
    "flite": "nemo_vtb.synthesis.voices.light:Flite",
    "kokoro": "nemo_vtb.synthesis.voices.kokoro:KokoroEngine",
    "fastpitch": "nemo_vtb.synthesis.voices.nemo:FastPitch",
    "magpie": "nemo_vtb.synthesis.voices.nemo:Magpie",
}


@cache
def open_engine(name: str, **settings: Any) -> Engine:
    """Loads an engine, once in a process.

    Raises:
        VTBError: If there is no such engine, or it is not installed.
    """
    if name not in ENGINES:
        raise VTBError(f"unknown voice engine '{name}'; known: {', '.join(ENGINES)}")
    module, kind = ENGINES[name].split(":")
    try:
        return getattr(import_module(module), kind)(**settings)
    except TypeError as error:
        raise VTBError(f"engines.{name}: {error}") from error


@dataclass(frozen=True)
class Delivery:
    """How a clip is spoken.

    Attributes:
        voice: ``engine:voice``.
        speed: Speaking rate, 1 as the voice has it.
        pitch: Factor on all frequencies, as a tape run faster: another speaker of a voice, in a shorter clip.
    """

    voice: str
    speed: float
    pitch: float

    @property
    def engine(self) -> str:
        """The engine's name."""
        return self.voice.split(":")[0]


class Cast:
    """The voices of a job.

    Args:
        shares: For each language ``{engine or engine:voice: weight}``; an engine's weight is split over its voices.
        engines: Settings of the engines that take any.
        speed: Slowest and fastest.
        pitch: Lowest and highest.
    """

    def __init__(
        self,
        shares: Mapping[str, Mapping[str, float]],
        engines: Mapping[str, Mapping[str, Any]],
        speed: tuple[float, float],
        pitch: tuple[float, float],
    ) -> None:
        self._shares, self._engines, self._speed, self._pitch = shares, engines, speed, pitch
        self._voices: dict[str, dict[str, float]] = {}

    def engine(self, name: str) -> Engine:
        """Returns an engine, loaded at its first use."""
        return open_engine(name, **self._engines.get(name, {}))

    def voices(self, language: str) -> dict[str, float]:
        """Returns the voices of a language with their odds.

        Raises:
            VTBError: If none is named, an engine is unknown or not installed, or it has no such voice.
        """
        if language not in self._voices:
            found: dict[str, float] = {}
            for name, weight in self._shares.get(language, {}).items():
                engine, _, voice = name.partition(":")
                known = self.engine(engine).voices(language)
                if not known or (voice and voice not in known):
                    listed = ", ".join(known) or "none"
                    raise VTBError(f"voices.{language}: {engine} has no voice '{voice or language}'; it has {listed}")
                for one in [voice] if voice else known:
                    found[f"{engine}:{one}"] = found.get(f"{engine}:{one}", 0.0) + weight / (1 if voice else len(known))
            heard = {name: weight for name, weight in found.items() if weight}
            if found and not heard:
                raise VTBError(f"voices.{language}: every voice has the weight 0, so that nobody speaks")
            self._voices[language] = heard
        return self._voices[language]

    def draw(self, language: str, random: Random, without: Collection[str] = ()) -> Delivery | None:
        """Draws who speaks and how.

        Args:
            language: Of the text.
            random: All of the chance.
            without: Voices that tried already.

        Returns:
            None where nobody is left.
        """
        left = {name: weight for name, weight in self.voices(language).items() if name not in without}
        if not left:
            return None
        voice = random.choices(list(left), list(left.values()))[0]
        speed, pitch = (round(random.uniform(*bounds), 2) for bounds in (self._speed, self._pitch))
        return Delivery(voice, speed if self.engine(voice.split(":")[0]).has_speed else 1.0, pitch)

    def speak(self, text: str, language: str, delivery: Delivery) -> tuple[np.ndarray, float, float]:
        """Speaks a sentence.

        Returns:
            Float32 mono samples ``(samples,)``, the rate in Hz at which they are to be heard, and the seconds it took.
        """
        engine, _, voice = delivery.voice.partition(":")
        opened = self.engine(engine)
        started = time.perf_counter()
        samples, rate = opened.speak(text, voice, language, delivery.speed)
        took = time.perf_counter() - started
        return np.asarray(samples, dtype=np.float32).reshape(-1), rate * delivery.pitch, took
