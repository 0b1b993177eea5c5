"""How replay conversations are drawn and kept: the keys of ``conf/synth/text.yaml``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from nemo_vtb.errors import VTBError
from nemo_vtb.options import JOB_KEYS, Range, read_options

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass
class Side:
    """How one side's turns are drawn.

    Attributes:
        temperature: 0 decodes greedily.
        top_p: Nucleus, where the temperature is above 0.
        tokens: Fewest and most that the LLM writes.
    """

    temperature: float
    top_p: float
    tokens: list[int]


@dataclass(frozen=True)
class ReplayOptions:
    """All keys that are not shared with the other makers.

    Attributes:
        categories: What they are about.
        exchanges: Odds of planning 1, 2, 3 ... exchanges.
        user: User turns.
        answer: Answers.
        conversation_tokens: Most tokens of a whole conversation as training reads it.
        language: ISO 639-1 code.
        count: Conversations to begin.
        held_out: Share of those kept that goes to a file of its own.
        prompt_file: A file of ``conf/synth/prompts/text``, or a path.
        tokenizer: Asset, folder or hub id whose chat template is used; None is the LLM's.
    """

    categories: list[str]
    exchanges: list[float]
    user: Side
    answer: Side
    conversation_tokens: int
    language: str
    count: Annotated[int, Range(most=10**7)]
    held_out: float
    prompt_file: str
    tokenizer: str | None

    @classmethod
    def read(cls, cfg: "DictConfig") -> "ReplayOptions":
        """Takes its keys out of a config.

        Raises:
            VTBError: Names the key that is missing or wrong.
        """
        options = read_options(cls, cfg, others=[*JOB_KEYS, "llm"])
        for name, one in (("user", options.user), ("answer", options.answer)):
            if len(one.tokens) != 2 or not 0 <= one.tokens[0] <= one.tokens[1] or one.tokens[1] < 1:
                raise VTBError(f"{name}.tokens={one.tokens}: name the fewest and the most, as in [2, 32]")
            if one.temperature < 0 or not 0 < one.top_p <= 1:
                raise VTBError(f"{name}: temperature is 0 or more, top_p above 0 and up to 1")
        if min(options.exchanges, default=-1.0) < 0 or sum(options.exchanges) <= 0:
            raise VTBError(f"exchanges={options.exchanges}: odds of 1, 2, 3 ... exchanges, not all of them 0")
        if options.count < 1 or not 0 <= options.held_out < 1:
            raise VTBError(
                f"count={options.count}, held_out={options.held_out}: at least 1, and a share from 0 to below 1"
            )
        return options
