"""The four kinds of data of VoiceTextBlender; speech recognition and translation are counted apart.

``align`` beside them holds transcribed clips that only the embedding alignment loss hears: they teach the adapter at a
fraction of what a conversation costs the LLM. ``continue`` holds clips that the LLM answers as it would
answer their words: no instruction stands beside them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation

KINDS = ("text", "asr", "ast", "sqa", "mixed")
ALIGN = "align"
CONTINUE = "continue"


def kind_of(conversation: "NeMoMultimodalConversation") -> str:
    """Returns the kind a conversation was tagged with, or what its turns suggest: ``text`` or ``mixed``."""
    custom: dict[str, Any] = getattr(conversation, "custom", None) or {}
    return custom.get("kind") or ("mixed" if conversation.has_audio_turns else "text")
