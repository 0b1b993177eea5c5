"""What is odd about the words and names of good rows, for lint."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING

from nemo_vtb.data.audio.recordings import recordings_in
from nemo_vtb.data.files.spelling import normalised
from nemo_vtb.data.row_forms.visible import has_text, invisible

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation

REMEDIES = {
    "special token in text": "leave it where somebody talks of it: it is learnt as text, and does nothing",
    "empty question": "write what is asked, or take the row out: an answer to nothing is learnt",
    "empty answer": "give it a text: nothing of it is learnt (keep_empty: true learns to say nothing)",
    "invisible text": "take it out: nobody who reads the row can see what is learnt",
    "garbled text": "read it as UTF-8 where it was read as something else: the words themselves may be lost",
    "decomposed text": "write it in NFC, unicodedata.normalize('NFC', TEXT): letter by letter it is another text",
    "names alike": "rename one: people and file systems take the two for one name",
}
# What the chat templates of known LLMs are made of, where there is no tokenizer to ask.
_USUAL_TOKENS = re.compile(
    r"<\|[a-z_]{2,30}\|>|<(?:start|end)_of_turn>|</?s>|<(?:bos|eos|pad|unk)>|\[/?INST\]|<</?SYS>>"
)
# Letters that UTF-8 begins with where it is taken for Western European, and what follows them then.
_TWICE_ENCODED = re.compile(
    "[ÂÃÄÅÐÑ][\u0080-\u00bf\u0152-\u0192\u02c6-\u02dc\u2013-\u2122]|â[\u0080-\u00bf\u0152-\u2122]{2}"
)


def token_pattern(special_tokens: Sequence[str], audio_tag: str) -> re.Pattern[str]:
    """Returns what finds control tokens in a text: a tokenizer's, or without one those of known LLMs."""
    tokens = [re.escape(token) for token in special_tokens if token != audio_tag]
    return re.compile("|".join(tokens)) if tokens else _USUAL_TOKENS


def odd_words(
    conversation: "NeMoMultimodalConversation", special: re.Pattern[str], audio_tag: str
) -> Iterator[tuple[str, str]]:
    """Yields a reason and a message for each thing in a conversation's words that may not be meant.

    Args:
        conversation: The conversation.
        special: Finds control tokens.
        audio_tag: The placeholder of a clip, which is taken apart in any case.
    """
    for turn in conversation.turns:
        if hasattr(turn, "cut"):
            continue
        for token in sorted(set(special.findall(turn.value)) - {audio_tag}):
            yield "special token in text", f"the {turn.role}'s text holds {token}"
        if unseen := Counter(invisible(turn.value)):
            named = [f"U+{ord(one):04X} {unicodedata.name(one, '')}".strip() for one, _ in unseen.most_common(3)]
            yield "invisible text", f"the {turn.role}'s text holds {unseen.total()} of {', '.join(named)}"
        if garbled := _garbled(turn.value):
            yield "garbled text", f"the {turn.role}'s text holds {garbled!r}"
        # Some scripts have letters that NFC takes apart: those are as they should be.
        elif len(unicodedata.normalize("NFC", turn.value)) < len(turn.value):
            yield "decomposed text", f"the {turn.role}'s text holds letters apart from their accents"
        if turn.role == "assistant" and not has_text(turn.value):
            yield "empty answer", "an answer is empty"
    for role, turns in groupby(conversation.turns, key=lambda turn: turn.role):
        if role == "user" and not any(hasattr(turn, "cut") or has_text(turn.value) for turn in turns):
            yield "empty question", "a turn of the user holds neither words nor a clip"


def _garbled(text: str) -> str:
    """What shows that a text was decoded as something else than it was; nothing where it seems well."""
    if text.isascii():
        return ""
    if (at := text.find("\ufffd")) >= 0:
        return text[max(0, at - 10) : at + 10]
    for found in _TWICE_ENCODED.finditer(text):
        with suppress(UnicodeError):
            found[0].encode("cp1252").decode("utf-8")
            return found[0]
    return ""


def written_names(conversation: "NeMoMultimodalConversation") -> list[str]:
    """Returns the names of a conversation that may be written in several ways: its id and those of its recordings."""
    heard = (recording for cut in conversation.list_cuts() for recording in recordings_in(cut))
    named = [source.source for recording in heard for source in recording.sources if isinstance(source.source, str)]
    return [name for name in (conversation.id, *named) if not name.isascii()]


class Spellings:
    """Remembers names, to find those that differ by their Unicode normalisation only."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[str, str]] = {}

    def alike(self, name: str, where: str) -> str | None:
        """Returns a message where another spelling of a name was seen before.

        Args:
            name: As it is written.
            where: Its position ``file:line``.
        """
        first, place = self._first.setdefault(normalised(name), (name, where))
        return None if first == name else f"{name!r} differs from a name in {place} by its Unicode normalisation only"
