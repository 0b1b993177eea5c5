"""How an answer is written: which token follows, and what ends it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.session.messages import shortened, whole_text

_MOST_STOPS = 16
# Divided by less, logits leave the numbers that a probability can be made of.
_LEAST_TEMPERATURE = 1e-5


@dataclass(frozen=True)
class AnswerOptions:
    """How an answer is written.

    Attributes:
        max_new_tokens: Most tokens of it.
        temperature: 0, and whatever is below 1e-5, takes the most likely token each time.
        top_p: Only the most likely tokens that together have this probability are drawn from.
        top_k: Only so many of the most likely tokens are drawn from; 0 for all.
        stop: Texts at which an answer ends; they are no part of it. One text or several.
        seed: Makes drawing repeatable.
        thinking: Whether to think first; None keeps to the model's own setting.

    Raises:
        VTBError: Names the option that cannot be.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    stop: str | Sequence[str] = ()
    seed: int | None = None
    thinking: bool | None = None

    def __post_init__(self) -> None:
        given = () if self.stop is None else self.stop
        stops = (given,) if not isinstance(given, list | tuple) else tuple(given)
        object.__setattr__(self, "stop", stops)
        whole_number("max_new_tokens", self.max_new_tokens, 1)
        whole_number("top_k", self.top_k, 0)
        _number("temperature", self.temperature, 0.0, 100.0)
        _number("top_p", self.top_p, 0.0, 1.0)
        if self.seed is not None:
            whole_number("seed", self.seed, -(2**63))
        if len(stops) > _MOST_STOPS or not all(isinstance(text, str) and text for text in stops):
            raise VTBError(f"stop is a text, or at most {_MOST_STOPS} of them, none empty")
        for text in stops:
            whole_text(text, "stop")

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts at which an answer ends."""
        return tuple(self.stop)


class Drawing:
    """Chooses the tokens of one answer.

    Args:
        options: How.

    Attributes:
        greedy: Whether it is the most likely one each time.
    """

    def __init__(self, options: AnswerOptions) -> None:
        from transformers import LogitsProcessorList
        from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        self.greedy = options.temperature < _LEAST_TEMPERATURE or options.top_k == 1 or options.top_p == 0
        self._options = options
        self._generator: torch.Generator | None = None
        self._warpers = LogitsProcessorList()
        if self.greedy:
            return
        self._warpers.append(TemperatureLogitsWarper(float(options.temperature)))
        if options.top_k:
            self._warpers.append(TopKLogitsWarper(options.top_k))
        if options.top_p < 1:
            self._warpers.append(TopPLogitsWarper(float(options.top_p)))

    def token(self, logits: Tensor) -> int:
        """The next token, from logits ``(vocabulary,)``."""
        if self.greedy:
            return int(logits.argmax())
        if self._generator is None:
            self._generator = torch.Generator(logits.device)
            seed = self._options.seed
            _ = self._generator.seed() if seed is None else self._generator.manual_seed(seed)
        warped = self._warpers(None, logits[None].float())
        return int(torch.multinomial(warped.softmax(-1), 1, generator=self._generator))


def whole_number(name: str, value: object, least: int) -> None:
    """Checks an option.

    Raises:
        VTBError: Names it, if it is no whole number or below the least.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**63:
        raise VTBError(f"{name} is {shortened(value)}; it is a whole number of at least {least}")


def _number(name: str, value: object, least: float, most: float) -> None:
    # Comparing refuses what is no number or infinite too, and takes whole numbers that no float can hold.
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise VTBError(f"{name} is {shortened(value)}; it is a number from {least:g} to {most:g}")


# Below the functions that check it.
GREEDY = AnswerOptions()
