"""The text of an answer while its tokens come: whole letters, no white space at the ends, nothing of a stop text."""

from collections.abc import Sequence
from typing import Any

_HALF_A_LETTER = "\ufffd"


class Words:
    """Turns tokens into pieces of text that joined are the answer.

    Args:
        tokenizer: NeMo's interface of one.
        stops: Texts that end the answer.

    Attributes:
        text: What was given out so far.
        stopped: Whether a stop text was met.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str] = ()) -> None:
        self._tokenizer, self._stops = tokenizer, stops
        self._tokens: list[int] = []
        self._begin = self._read = 0
        self._held = ""
        self.text, self.stopped = "", False

    def add(self, token: int) -> str:
        """Takes a token; returns what can be read of the answer now and could not before."""
        self._tokens.append(token)
        return self._give_out(self._decoded(), False)

    def end(self) -> str:
        """Returns what was held back because more might have followed."""
        return "" if self.stopped else self._give_out(self._decoded(last=True), True)

    def _decoded(self, last: bool = False) -> str:
        # A few tokens are read again with each new one: how a token is spelt may hang on the one before it.
        before = self._tokenizer.ids_to_text(self._tokens[self._begin : self._read])
        now = self._tokenizer.ids_to_text(self._tokens[self._begin :])
        if len(now) <= len(before) or (now.endswith(_HALF_A_LETTER) and not last):
            return ""
        self._begin, self._read = self._read, len(self._tokens)
        return now[len(before) :]

    def _give_out(self, new: str, last: bool) -> str:
        if self.stopped:
            return ""
        held = self._held + new
        if not self.text:
            held = held.lstrip()
        found = min((place for stop in self._stops if (place := held.find(stop)) >= 0), default=None)
        if found is not None:
            self.stopped, last, held = True, True, held[:found]
        begun = () if last else self._stops
        ready = min((_before_beginning(held, stop) for stop in begun), default=len(held))
        # Nor the white space in front of it: an answer has none at its end.
        ready = len(held[:ready].rstrip())
        piece, self._held = held[:ready], held[ready:]
        self.text += piece
        return piece


def _before_beginning(text: str, stop: str) -> int:
    """How much of a text stands before what may become a stop text."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return len(text) - length
    return len(text)
