"""How questions are made and kept: the keys of ``conf/synth/qa.yaml``."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nemo_vtb.errors import VTBError
from nemo_vtb.options import JOB_KEYS, read_options

if TYPE_CHECKING:
    from omegaconf import DictConfig

_WEIGHED = re.compile(r"([^*]+)(?:\*(\d+(?:\.\d+)?))?")


@dataclass
class Recording:
    """Which recordings are taken.

    Attributes:
        seconds: Shortest and longest.
        words: Fewest and most of the transcript.
        characters: Most of the transcript that the LLM reads.
    """

    seconds: list[float]
    words: list[int]
    characters: int


@dataclass
class ReplyOptions:
    """How replies are drawn.

    Attributes:
        temperature: 0 decodes greedily.
        top_p: Nucleus, where the temperature is above 0.
        tokens: Most for each pair of question and answer.
    """

    temperature: float
    top_p: float
    tokens: int


@dataclass
class QAFilters:
    """Which pairs are kept; see ``filters.pair_fault``.

    Attributes:
        question_words: Fewest and most.
        answer_words: Fewest and most.
        support: Least share of an answer's words that the transcript has.
        copied: Share of the transcript that an answer of some length must stay below.
        second_pass: Whether the LLM is asked again.
    """

    question_words: list[int]
    answer_words: list[int]
    support: float
    copied: float
    second_pass: bool


@dataclass(frozen=True)
class QAOptions:
    """All keys that are not shared with the other makers.

    Attributes:
        source: An ``input_cfg`` entry of recordings with transcripts.
        language: Of recordings that name none, ISO 639-1.
        recording: Which recordings.
        prompt_files: Files of ``conf/synth/prompts/qa`` or paths; ``*2`` behind a name is its weight.
        reply: How replies are drawn.
        filters: Which pairs are kept.
        copy_audio: Whether recordings are copied.
    """

    source: dict[str, Any]
    language: str
    recording: Recording
    prompt_files: list[str]
    reply: ReplyOptions
    filters: QAFilters
    copy_audio: bool

    @classmethod
    def read(cls, cfg: "DictConfig") -> "QAOptions":
        """Takes its keys out of a config.

        Raises:
            VTBError: Names the key that is unknown, missing or wrong.
        """
        options = read_options(cls, cfg, others=[*JOB_KEYS, "llm"])
        options._check()
        return options

    def drawn_files(self) -> dict[str, float]:
        """The files of prompts and their weights."""
        return {match[1]: float(match[2] or 1) for match in map(_WEIGHED.fullmatch, self.prompt_files) if match}

    def _check(self) -> None:
        ranges: dict[str, tuple[list[Any], float]] = {
            "recording.seconds": (self.recording.seconds, 0),
            "recording.words": (self.recording.words, 1),
            "filters.question_words": (self.filters.question_words, 1),
            "filters.answer_words": (self.filters.answer_words, 1),
        }
        for key, (bounds, least) in ranges.items():
            if len(bounds) != 2 or not least <= bounds[0] <= bounds[1]:
                raise VTBError(f"{key}={bounds}: name the least and the most, from {least} on, as in [3, 30]")
        for key, share in (("support", self.filters.support), ("copied", self.filters.copied)):
            if not 0 <= share <= 1:
                raise VTBError(f"filters.{key}={share}: a share is between 0 and 1")
        if self.reply.temperature < 0 or not 0 < self.reply.top_p <= 1 or self.reply.tokens < 1:
            raise VTBError("reply: temperature is 0 or more, top_p above 0 and up to 1, tokens 1 or more")
        if self.recording.characters < 1:
            raise VTBError(f"recording.characters={self.recording.characters}: 1 or more")
        wrong = [name for name in self.prompt_files if not _WEIGHED.fullmatch(name)]
        if wrong or not any(self.drawn_files().values()):
            raise VTBError(f"prompt_files={self.prompt_files}: names of files, each with its weight as in [single*2]")
