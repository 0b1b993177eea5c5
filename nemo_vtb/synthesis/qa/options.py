"""How questions are made and kept: the keys of ``conf/synth/qa.yaml``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from nemo_vtb.errors import VTBError
from nemo_vtb.options import JOB_KEYS, Count, Range, Share, read_options, weights

if TYPE_CHECKING:
    from omegaconf import DictConfig

_WEIGHED = re.compile(r"([^*]+)(?:\*(\d+(?:\.\d+)?))?")


@dataclass
class Recording:
    """Which recordings are taken.

    Attributes:
        seconds: Shortest and longest.
        words: Fewest and most of the transcript; of Chinese and the like, characters.
        characters: Most of the transcript that the LLM reads.
    """

    seconds: list[float]
    words: list[int]
    characters: Count


@dataclass
class ReplyOptions:
    """How replies are drawn.

    Attributes:
        temperature: 0 decodes greedily.
        top_p: Nucleus, where the temperature is above 0.
        tokens: Most for each pair of question and answer.
    """

    temperature: Annotated[float, Range(0)]
    top_p: Annotated[float, Range(0, 1, above=True)]
    tokens: Count


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
    support: Share
    copied: Share
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
        named = filter(None, map(_WEIGHED.fullmatch, self.prompt_files))
        return weights((match[1], float(match[2] or 1)) for match in named)

    def _check(self) -> None:
        words = {
            "recording.words": self.recording.words,
            "filters.question_words": self.filters.question_words,
            "filters.answer_words": self.filters.answer_words,
        }
        check_bounds({"recording.seconds": self.recording.seconds}, 0)
        check_bounds(words, 1)
        wrong = [name for name in self.prompt_files if not _WEIGHED.fullmatch(name)]
        if wrong or not any(self.drawn_files().values()):
            raise VTBError(f"prompt_files={self.prompt_files}: names of files, each with its weight as in [single*2]")


def check_bounds(found: Mapping[str, Sequence[float]], least: float) -> None:
    """Refuses keys that do not hold a least and a most.

    Raises:
        VTBError: Names the key.
    """
    for key, bounds in found.items():
        if len(bounds) != 2 or not least <= bounds[0] <= bounds[1]:
            raise VTBError(f"{key}={bounds}: name the least and the most, from {least} on, as in [3, 30]")
