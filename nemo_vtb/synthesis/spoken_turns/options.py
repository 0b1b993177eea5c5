"""How chats are spoken: the keys of ``conf/synth/speech.yaml``."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.options import JOB_KEYS, read_options, weights
from nemo_vtb.parts.spoken_spans import SpeakRule
from nemo_vtb.synthesis.voices.sound import Sound

if TYPE_CHECKING:
    from omegaconf import DictConfig

_VOICE = re.compile(r"[^*\s]+(\*\d+(\.\d+)?)?")


@dataclass
class ChatFilters:
    """Which conversations are taken.

    Attributes:
        categories: That may be spoken, in any case; None takes all. A conversation that names none passes.
        instruction_tokens: Every user turn has fewer.
        response_tokens: Every answer has fewer.
        tokenizer: An asset, folder or hub id that counts them; None counts words.
    """

    categories: list[str] | None = None
    instruction_tokens: int = 128
    response_tokens: int = 1024
    tokenizer: str | None = None


@dataclass
class Speak:
    """What of a conversation is spoken; see ``SpeakRule``.

    Attributes:
        variants: Versions of a conversation.
        max_spans: Runs of sentences spoken in a turn.
        max_turns: User turns with something spoken.
        max_seconds: Longest clip.
    """

    variants: int = 2
    max_spans: int = 1
    max_turns: int = 1
    max_seconds: float = 20.0

    def rule(self) -> SpeakRule:
        """The rule without the length of clips."""
        return SpeakRule(self.variants, self.max_spans, self.max_turns)


@dataclass
class GateOptions:
    """The round trip.

    Attributes:
        asr: ``{language: Whisper}``: an asset, folder or hub id; ``any`` stands for the other languages.
        limit: Largest character error rate of a sentence that passes.
        batch: Clips at a time.
    """

    asr: dict[str, str] = field(default_factory=dict)
    limit: float = 0.1
    batch: int = 8


@dataclass(frozen=True)
class SpeechOptions:
    """All keys that are not shared with the other makers.

    Attributes:
        source: An ``input_cfg`` entry of text conversations.
        language: Of conversations that name none, ISO 639-1.
        filters: Which conversations are taken.
        speak: What of them is spoken.
        tts: Whether what no bank has is spoken.
        voices: ``{language: [engine or engine:voice, ...]}``; ``*4`` behind a name is its weight.
        engines: Settings of the engines that take any.
        speed: Slowest and fastest speaking rate.
        pitch: Lowest and highest factor on all frequencies.
        tries: How often a clip is spoken at most, each time by another voice.
        sound: How clips are finished.
        noise: ``{files, snr_db, share}``; None for silence.
        room: ``{files, share}``; None for none.
        gate: The round trip; None lets everything pass.
        banks: JSONL files of recordings that are used instead of speaking anew.
    """

    source: dict[str, Any]
    language: str
    filters: ChatFilters
    speak: Speak
    tts: bool
    voices: dict[str, list[str]]
    engines: dict[str, dict[str, str | None]]
    speed: list[float]
    pitch: list[float]
    tries: int
    sound: Sound
    noise: dict[str, Any] | None
    room: dict[str, Any] | None
    gate: GateOptions | None
    banks: list[str]

    @classmethod
    def read(cls, cfg: "DictConfig") -> "SpeechOptions":
        """Takes its keys out of a config.

        Raises:
            VTBError: Names the key that is unknown, missing or wrong.
        """
        options = read_options(cls, cfg, others=JOB_KEYS)
        options._check()
        return options

    def shares(self) -> dict[str, dict[str, float]]:
        """The voices of each language with their weights."""
        return {language: weights(map(_weighed, named)) for language, named in self.voices.items() if named}

    def _check(self) -> None:
        for name, bounds in (("speed", self.speed), ("pitch", self.pitch)):
            if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1]:
                raise VTBError(f"{name}={bounds}: name the lowest and the highest, as in [0.9, 1.1]")
        counts = {"tries": self.tries, **{f"speak.{key}": value for key, value in vars(self.speak.rule()).items()}}
        for key, count in counts.items():
            if count < 1:
                raise VTBError(f"{key}={count}: it is 1 or more")
        # Whisper's window, less the second of silence that the round trip puts behind a clip.
        if not 0 < self.speak.max_seconds <= 28:
            raise VTBError(f"speak.max_seconds={self.speak.max_seconds}: above 0 and up to 28")
        if not self.tts and not self.banks:
            raise VTBError("tts=false leaves nobody to speak: name recordings, banks=[FILE, ...]")
        if self.sound.sample_rate < 8000 or self.sound.peak_db > 0 or self.sound.margin < 0:
            raise VTBError("sound: sample_rate is 8000 or more, peak_db 0 or less, margin 0 or more")
        for name, section, keys in (
            ("noise", self.noise, ("files", "snr_db", "share")),
            ("room", self.room, ("files", "share")),
        ):
            if section is not None:
                check_keys(section, keys, name)
                if set(section) != set(keys) or not section["files"] or not 0 <= section["share"] <= 1:
                    raise VTBError(f"{name} needs {', '.join(keys)}; a share is between 0 and 1")
                if name == "noise" and len(section["snr_db"]) != 2:
                    raise VTBError("noise.snr_db: name the lowest and the highest, as in [10, 30]")
        for language, named in self.voices.items():
            if wrong := [name for name in named if not _VOICE.fullmatch(name)]:
                raise VTBError(f"voices.{language}: {wrong[0]!r} is no engine, engine:voice or engine:voice*weight")


def _weighed(name: str) -> tuple[str, float]:
    voice, _, weight = name.partition("*")
    return voice, float(weight or 1)
