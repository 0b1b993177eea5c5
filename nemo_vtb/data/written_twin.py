"""The written twin of a spoken conversation: the words of each clip in the place of the clip."""

from typing import TYPE_CHECKING

from lhotse.utils import fastcopy
from nemo.collections.common.data.lhotse.text_adapters import TextTurn

from nemo_vtb.data.conversations.kinds import ALIGN, kind_of

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation

# Their answers are the words, or a translation of them: an LLM that reads the words has nothing to teach.
_OF_WORDS = ("asr", "ast", ALIGN)


def unknown_clip(conversation: "NeMoMultimodalConversation") -> str | None:
    """The id of the first clip whose words are not known; None where all are."""
    return next((turn.cut.id for turn in conversation.turns if hasattr(turn, "cut") and not turn.text), None)


def words_of_clips(conversation: "NeMoMultimodalConversation") -> list[str | None]:
    """What is said in each clip, as far as the data tells it: with the clip, or as the answer of speech recognition."""
    words: list[str | None] = []
    unanswered: list[int] = []
    for turn in conversation.turns:
        if hasattr(turn, "cut"):
            unanswered.append(len(words))
            words.append(turn.text or None)
        elif turn.role == "assistant":
            # Of two clips before one answer nobody knows which words are whose.
            if kind_of(conversation) == "asr" and len(unanswered) == 1:
                words[unanswered[0]] = words[unanswered[0]] or turn.value or None
            unanswered = []
    return words


def written_twin(conversation: "NeMoMultimodalConversation") -> "NeMoMultimodalConversation":
    """Returns the conversation with the transcript in the place of each clip; all of them are known."""
    turns = [TextTurn(value=t.text, role=t.role) if hasattr(t, "cut") else t for t in conversation.turns]
    return fastcopy(conversation, turns=turns)


def answers_words(conversation: "NeMoMultimodalConversation") -> bool:
    """Whether something is spoken to which the answer is more than its words: neither transcript nor translation."""
    return conversation.has_audio_turns and kind_of(conversation) not in _OF_WORDS
