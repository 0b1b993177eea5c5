"""One answer, from the moment it is asked for to its last word."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.session.messages import Turn
from nemo_vtb.inference.session.prompt import Prompt
from nemo_vtb.inference.session.sampling import GREEDY, AnswerOptions, Drawing
from nemo_vtb.inference.session.words import Words


class Answer:
    """An answer that is being written.

    Args:
        turns: The conversation, the user's turn last.
        options: How to answer.
        lora_scale: How much of LoRA acts; None leaves the model as it is set.

    Attributes:
        tokens: Ids so far, what ended it left out.
        finish: None while it is written; then ``stop``, ``length``, ``cancelled`` or ``error``.
        error: Why there is none.
        prompt: What the LLM was fed, once it was.
        voice: See ``Past``.
        kept: Positions of the prompt that were known from before.
        begun: When it was asked for; ``first`` when its first token was there, ``ended`` when its last was, in seconds
            of ``time.perf_counter``.
    """

    def __init__(
        self,
        turns: Sequence[Turn],
        options: AnswerOptions = GREEDY,
        lora_scale: float | None = None,
    ) -> None:
        self.turns, self.options, self.lora_scale = list(turns), options, lora_scale
        self.tokens: list[int] = []
        self.finish: str | None = None
        self.error: Exception | None = None
        self.prompt: Prompt | None = None
        self.kept, self.voice = 0, 0.0
        self.begun = time.perf_counter()
        self.first: float | None = None
        self.ended: float | None = None
        self.drawing = Drawing(options)
        self._words: Words | None = None
        self._cancelled = self._filled = False

    @property
    def text(self) -> str:
        """What was said so far."""
        return self._words.text if self._words is not None else ""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the rest."""
        return self._cancelled

    @property
    def seconds_to_first(self) -> float | None:
        """From asking to the first token."""
        return None if self.first is None else self.first - self.begun

    @property
    def tokens_per_second(self) -> float | None:
        """Of those behind the first."""
        if self.first is None or self.ended is None or self.ended <= self.first or len(self.tokens) < 2:
            return None
        return (len(self.tokens) - 1) / (self.ended - self.first)

    @property
    def notes(self) -> list[str]:
        """What a person should know of it: of the recordings just sent, and that nothing was answered."""
        notes = [note for sound in self.turns[-1].sounds for note in sound.notes]
        if self._filled:
            notes.append("the answer ends where the LLM's positions do: start over, or take messages back")
        if self.finish != "stop" or self.text:
            return notes
        said = "the model answered nothing"
        if self.prompt is not None and self.prompt.spoken:
            said += (
                f", after {self.prompt.seconds:.0f} s of sound and {len(self.prompt.keys):,} positions; where its "
                "training had no recordings of this length, ask about shorter ones"
            )
        return [*notes, said]

    def cancel(self) -> None:
        """Ends it before its next token; from any thread."""
        self._cancelled = True

    def takes(self, token: int, stops: frozenset[int], tokenizer: Any, room: int) -> str:
        """Takes the next token and returns the piece of text that it completes.

        Args:
            token: As drawn.
            stops: Ids that end an answer.
            tokenizer: NeMo's interface of one.
            room: Tokens that the LLM still has positions for, this one included.
        """
        if self._words is None:
            self._words = Words(tokenizer, self.options.stops)
            self.first = time.perf_counter()
        if token in stops:
            return self.ends("stop")
        self.tokens.append(token)
        piece = self._words.add(token)
        if self._words.stopped:
            return piece + self.ends("stop")
        self._filled = room <= 1
        if len(self.tokens) >= self.options.max_new_tokens or self._filled:
            return piece + self.ends("length")
        return piece

    def ends(self, finish: str, error: Exception | None = None) -> str:
        """Ends it, and returns what of its text was held back; nothing with an error."""
        self.finish, self.error, self.ended = finish, error, time.perf_counter()
        # What stopped an answer may be its words.
        return self._words.end() if self._words is not None and error is None else ""

    def fed(self, positions: int) -> np.ndarray:
        """Keys of the first positions of prompt and answer."""
        assert self.prompt is not None
        return np.concatenate([self.prompt.keys, np.asarray(self.tokens, dtype=np.int64)])[:positions]

    def check(self) -> None:
        """Raises what stood in its way.

        Raises:
            VTBError: If there is no answer.
        """
        if isinstance(self.error, VTBError):
            raise VTBError(str(self.error)) from self.error
        if self.error is not None:
            raise self.error
