"""What writes: one small interface to a large language model, behind a server or in this process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Sampling:
    """How a reply is drawn.

    Attributes:
        max_tokens: Most new tokens.
        temperature: 0 decodes greedily.
        top_p: Nucleus, where the temperature is above 0.
        seed: Of this request; the same request with the same seed gives the same reply where the back end can do that.
        stop: Texts that end a reply and are not part of it.
        schema: JSON schema that the reply must follow; the back end constrains the decoding to it.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = field(default=None, hash=False)


@dataclass(frozen=True)
class Reply:
    """What came back.

    Attributes:
        text: Without the end-of-turn token.
        tokens: New tokens; a server may count the end of turn among them.
        finished: Whether it ended by itself or at a stop, rather than at the limit.
        retries: How often a server had to be asked again.
    """

    text: str
    tokens: int
    finished: bool
    retries: int = field(default=0, compare=False)


def without_thoughts(text: str) -> str:
    """What a reply says once the model has thought: nobody is to learn its thoughts, nor a judge's verdict to be one.

    Some templates open the thoughts in the prompt, so that a reply only closes them.
    """
    begun, close, rest = text.partition("</think>")
    return rest.lstrip() if close and begun.count("<think>") == begun.lstrip().startswith("<think>") else text


class LLM(Protocol):
    """A language model.

    Both calls return one reply per request, in order, and take as long as the slowest; a back end that cannot go on
    raises ``VTBError``, so that the run stops and can be resumed.

    Attributes:
        name: What rows name as their maker.
    """

    name: str

    def chat(self, conversations: Sequence[Sequence[Mapping[str, str]]], sampling: Sequence[Sampling]) -> list[Reply]:
        """Answers conversations of ``{"role", "content"}`` turns in the model's own chat template, thoughts left out.

        What stands in a turn may be parsed as the model's special tokens by a server: clean what others wrote.
        """
        ...

    def complete(self, prompts: Sequence[str], sampling: Sequence[Sampling]) -> list[Reply]:
        """Goes on from raw text, special tokens and all.

        The token that begins every text of some models is left out: the back end adds it.
        """
        ...
