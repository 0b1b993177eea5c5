"""Clips that sound different each time they are drawn: the ``augment`` section of a training config.

What is done to a clip follows from seed, source, row and epoch alone, so a resumed run hears what the uninterrupted one
would have heard, whatever the number of workers and ranks.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
from lhotse.utils import fastcopy

from nemo_vtb.config import check_keys
from nemo_vtb.data.audio.augment_audio import AUGMENTED, EFFECTS, Augmented, Effect
from nemo_vtb.data.conversations.prompt_pool import stable_hash
from nemo_vtb.data.files.locations import locate
from nemo_vtb.errors import VTBError
from nemo_vtb.options import Key

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation

_SAMPLE_RATE = 16_000
_SPEED = "speed"
_CODECS = ("opus", "mp3", "vorbis", "gsm")
_AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aiff")
# Seconds are kept as 32-bit floats: a clip at the very edge of a frame may fall on either side.
_EDGE = 1e-3


_PROB = Key("float of at least 0 up to 1", "Share of the clips, or of the conversations, that it is done to.", 0.5)
_PATH = Key("a path", "A recording, or a folder of them.")
# What each of these sections holds.
AUGMENT_KEYS = {
    "speed": {"prob": _PROB, "factors": Key("a list of float", "Drawn from: 0.5 to 2.", [0.9, 1.1])},
    "reverb": {"prob": _PROB, "path": Key("a path or null", "Of impulse responses; null draws rooms.", None)},
    "noise": {
        "prob": _PROB,
        "path": _PATH,
        "snr": Key("float, or two", "Decibels of the speech above it, -20 to 60.", [10, 20]),
    },
    "volume": {"prob": _PROB, "gain_db": Key("float, or two", "Decibels, -40 to 20.", [-6, 6])},
    "codec": {
        "prob": _PROB,
        "codecs": Key("a list of opus, mp3, vorbis, gsm", "Drawn from.", ["opus"]),
        "level": Key("float, or two", "Of compression, 0 to 1.", [0.8, 0.99]),
    },
}


@dataclass(frozen=True)
class Augmentation:
    """What is done to the clips of one source.

    Attributes:
        settings: The ``augment`` section, as ``read_augment`` returns it.
        key: Names the draws: seed, kind and number of the source.
        frame_seconds: Audio per LLM position.
        max_seconds: No clip is slowed beyond this length.
        max_total: No conversation is slowed beyond so many LLM positions.
    """

    settings: Mapping[str, Any]
    key: int
    frame_seconds: float
    max_seconds: float
    max_total: int | None = None

    def draw(self, conversation: "NeMoMultimodalConversation", row: int, epoch: int, size: np.ndarray) -> Any:
        """Returns a conversation as it sounds in an epoch.

        Args:
            conversation: As it was recorded.
            row: Its number in the source.
            epoch: The epoch.
            size: Its lengths as ``ConversationSource.sizes`` gives them without augmentation, clips included.

        Returns:
            The conversation with its cuts at another speed, and with ``Augmented`` in its ``custom``.
        """
        cuts = conversation.list_cuts()
        if not cuts:
            return conversation
        speed = float(self._speeds(np.array([row]), epoch, size[None])[0])
        if any(cut.duration / speed > self.max_seconds for cut in cuts):
            speed = 1.0
        random = Random(stable_hash(self.key, row, epoch))
        turns = conversation.turns
        if speed != 1:
            turns = [
                fastcopy(turn, cut=turn.cut.resample(_SAMPLE_RATE).perturb_speed(speed, affix_id=False))
                if hasattr(turn, "cut")
                else turn
                for turn in turns
            ]
        effects = [tuple(self._effects(random)) for _ in cuts]
        custom = {**(conversation.custom or {}), AUGMENTED: Augmented(speed, effects)}
        return fastcopy(conversation, turns=turns, custom=custom)

    def sizes(self, plain: np.ndarray, rows: np.ndarray, epoch: int) -> np.ndarray:
        """Lengths of many rows in an epoch; never below what ``draw`` gives.

        Args:
            plain: ``(rows, 4)``: LLM positions, supervised ones, seconds of audio and number of clips, as recorded.
            rows: Their numbers in the source.
            epoch: The epoch.

        Returns:
            ``(rows, 3)``: the first three at the speeds drawn.
        """
        speeds = self._speeds(rows, epoch, plain)
        return np.stack([self._totals(plain, speeds), plain[:, 1], plain[:, 2] / speeds], axis=1)

    def _speeds(self, rows: np.ndarray, epoch: int, plain: np.ndarray) -> np.ndarray:
        setting = self.settings.get(_SPEED)
        if setting is None:
            return np.ones(len(rows))
        drawn = (Random(stable_hash(self.key, _SPEED, int(row), epoch)) for row in rows)
        speeds = np.array([r.choice(setting["factors"]) if r.random() < setting["prob"] else 1.0 for r in drawn])
        too_long = plain[:, 3] == 0
        too_long |= (plain[:, 3] == 1) & (plain[:, 2] / speeds > self.max_seconds)
        if self.max_total is not None:
            too_long |= self._totals(plain, speeds) > self.max_total
        return np.where(too_long, 1.0, speeds)

    def _totals(self, plain: np.ndarray, speeds: np.ndarray) -> np.ndarray:
        """LLM positions at other speeds: a bound for several clips, of which the index knows the sum."""
        frames, clips = self.frame_seconds, plain[:, 3]
        before, after = plain[:, 2] / frames, plain[:, 2] / speeds / frames
        one = np.ceil(after + _EDGE) - np.ceil(before - _EDGE)
        several = np.ceil(after - before) + clips
        return plain[:, 0] + np.where(speeds == 1, 0, np.where(clips == 1, one, several))

    def _effects(self, random: Random) -> list[Effect]:
        found = []
        for name in EFFECTS:
            setting = self.settings.get(name)
            if setting is None or random.random() >= setting["prob"]:
                continue
            low, high = setting.get("range", (0.0, 0.0))
            choices = setting.get("choices")
            choice = random.choice(choices) if choices else ""
            found.append(Effect(name, random.uniform(low, high), choice, random.getrandbits(31)))
        return found


def read_augment(section: Any, where: str) -> dict[str, Any] | None:
    """Checks an ``augment`` section and finds the recordings it names.

    Args:
        section: ``speed``, ``reverb``, ``noise``, ``volume`` and ``codec``, each with ``prob`` and what it may draw.
        where: Its path in the config, for messages.

    Returns:
        Settings for ``Augmentation``; None where nothing is to be done.

    Raises:
        VTBError: On an unknown key, a value out of range, or a path without recordings.
    """
    if not section:
        return None
    check_keys(section, AUGMENT_KEYS, where)
    found = {}
    for name, values in section.items():
        if not values:
            continue
        at = f"{where}.{name}"
        check_keys(values, AUGMENT_KEYS[name], at)
        given = {key: known.default for key, known in AUGMENT_KEYS[name].items()} | dict(values)
        setting: dict[str, Any] = {"prob": _number(given["prob"], 0, 1, f"{at}.prob")}
        if name == _SPEED:
            factors = given["factors"]
            setting["factors"] = [_number(factor, 0.5, 2, f"{at}.factors") for factor in factors]
        elif name == "volume":
            setting["range"] = _range(given["gain_db"], -40, 20, f"{at}.gain_db")
        elif name == "codec":
            setting["choices"] = list(given["codecs"])
            if unknown := set(setting["choices"]) - set(_CODECS):
                raise VTBError(f"{at}.codecs: {', '.join(map(str, unknown))} is none of {', '.join(_CODECS)}")
            setting["range"] = _range(given["level"], 0, 1, f"{at}.level")
        elif name == "noise":
            setting["range"] = _range(given["snr"], -20, 60, f"{at}.snr")
        if name == "noise" or values.get("path"):
            setting["choices"] = _recordings(values.get("path"), f"{at}.path")
        if name != "volume" and setting.get("choices", setting.get("factors")) == []:
            raise VTBError(f"{at} has nothing to draw from")
        found[name] = setting
    return found or None


def _recordings(path: Any, where: str) -> list[str]:
    if not path:
        raise VTBError(f"missing config key {where}: a folder of recordings")
    place = locate(str(path))
    files = [place] if place.is_file() else sorted(place.rglob("*"))
    found = [str(file) for file in files if Path(file).suffix.lower() in _AUDIO_SUFFIXES]
    if not found:
        raise VTBError(f"{where}: {path} holds no recording ({', '.join(_AUDIO_SUFFIXES)})")
    return found


def _range(value: Any, low: float, high: float, where: str) -> tuple[float, float]:
    pair = [value, value] if isinstance(value, (int, float)) else list(value)
    if len(pair) != 2:
        raise VTBError(f"{where} must be a number or two, not {value}")
    start, end = (_number(number, low, high, where) for number in pair)
    return min(start, end), max(start, end)


def _number(value: Any, low: float, high: float, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise VTBError(f"{where} must be a number, not {value!r}")
    if not low <= value <= high:
        raise VTBError(f"{where} must be from {low} to {high}, not {value}")
    return float(value)
