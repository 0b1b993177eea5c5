"""Conversations of which nothing is learnt or measured, for batches that must exist all the same."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation

_UNSCORED = "unscored"


def is_unscored(conversation: "NeMoMultimodalConversation") -> bool:
    """Whether nothing of a conversation is to be learnt or measured."""
    return bool((getattr(conversation, "custom", None) or {}).get(_UNSCORED))


def unscored(conversation: "NeMoMultimodalConversation") -> "NeMoMultimodalConversation":
    """Returns a conversation of the same shape of which nothing is learnt or measured."""
    from lhotse.utils import fastcopy

    return fastcopy(conversation, custom={**(conversation.custom or {}), _UNSCORED: True})


def stand_in(kind: str) -> "NeMoMultimodalConversation":
    """Returns a conversation of which nothing is learnt, for a batch whose own ones could all not be loaded."""
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
    from nemo.collections.common.data.lhotse.text_adapters import TextTurn

    turns = [TextTurn(value=".", role="user"), TextTurn(value=".", role="assistant")]
    return NeMoMultimodalConversation(id="stand-in", turns=turns, custom={"kind": kind, _UNSCORED: True})
