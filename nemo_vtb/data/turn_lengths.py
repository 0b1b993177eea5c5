"""How many tokens turns have, and how many of them are learnt, from the words alone.

What a format writes around a message stands apart from it for a byte-level tokenizer: in front of it a line break or a
token of its own, behind it a token of its own. So a turn is as long as its message and what is around any other.
"""

from typing import TYPE_CHECKING, NamedTuple

from nemo_vtb.data.word_ids import WordIds
from nemo_vtb.parts.prompts.turn_mask import answer_ending, answer_span, own_template

if TYPE_CHECKING:
    from nemo.collections.common.prompts import PromptFormatter

_MESSAGE = "|message|"
# A message; the frame around it is measured with it.
_WORD = "a"


class _Frame(NamedTuple):
    """Tokens around a message, and how many behind it are learnt."""

    total: int
    learnt: int


class TurnLengths:
    """Counts tokens of turns as ``encode_turns`` would write them.

    Args:
        formatter: One of NeMo's prompt formats.
        words: Its tokenizer.
    """

    def __init__(self, formatter: "PromptFormatter", words: WordIds) -> None:
        self._words = words
        self._frames = {}
        self._opening = int(formatter.INSERT_BOS)
        self._closing = int(formatter.INSERT_EOS)
        if own_template(formatter) is not None or not answer_ending(formatter):
            return
        if "preamble" in (roles := formatter.get_roles()):
            self._opening += len(words(formatter.get_template("preamble")))
        for role in roles:
            if role != "preamble" and (frame := self._frame(formatter, role)) is not None:
                self._frames["assistant" if role == formatter.OUTPUT_ROLE else role] = frame

    def __call__(self, turns: list[tuple[str, str]]) -> tuple[int, int] | None:
        """Returns tokens in all and tokens that are learnt; None where they must be encoded to know.

        Args:
            turns: ``(role, message)``, every answer learnt, without control tokens.
        """
        total, learnt = self._opening + self._closing, 0
        for role, message in turns:
            frame = self._frames.get(role)
            if frame is None or not _stands_apart(message):
                return None
            length = self._words.count(message)
            total += frame.total + length
            if role == "assistant":
                learnt += frame.learnt + length
        return total, learnt + (self._closing if turns[-1][0] == "assistant" else 0)

    def _frame(self, formatter: "PromptFormatter", role: str) -> _Frame | None:
        before, _, behind = formatter.get_template(role).partition(_MESSAGE)
        if _MESSAGE in behind or set(formatter.get_slots(role)) != {"message"}:
            return None
        if not self._words.begins_apart(behind) or not (before.endswith("\n") or self._words.ends_apart(before)):
            return None
        around = self._words.whole(f"{before}{_WORD}{behind}")
        word = self._words.whole(_WORD)
        header = len(self._words.whole(before + _WORD)) - len(word)
        start, end = answer_span(around, formatter)
        if role == formatter.OUTPUT_ROLE and start != header:
            return None
        return _Frame(len(around) - len(word), end - header - len(word))


def _stands_apart(message: str) -> bool:
    first = message[:1]
    return first.isalnum() or "!" <= first <= "~"
