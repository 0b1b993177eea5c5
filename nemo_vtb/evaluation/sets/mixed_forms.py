"""The same prompt written, spoken, and half and half: what a model loses by listening is a number."""

from collections.abc import Sequence
from typing import Any

from lhotse.utils import fastcopy
from nemo.collections.common.data.lhotse.text_adapters import TextTurn

from nemo_vtb.errors import VTBError

FORMS = ("text", "speech", "half")


def prompt_forms(conversation: Any) -> dict[str, Any]:
    """Returns the forms in which a conversation's prompt can be asked, by name.

    Args:
        conversation: A ``NeMoMultimodalConversation`` whose clips have transcripts. It ends with its answer.

    Returns:
        ``text``: the transcript in the place of each clip. ``speech``: as it is, where nothing in it is written.
        ``half``: as it is, where some of the prompt is written; else the clips take turns, the first one written.
        A prompt of one clip and nothing else has no half.

    Raises:
        VTBError: If there is no clip, or one has no transcript.
    """
    prompt = conversation.turns[:-1]
    clips = [place for place, turn in enumerate(prompt) if hasattr(turn, "cut")]
    for place in clips:
        if not prompt[place].text:
            raise VTBError(f"{conversation.id}: a clip without its transcript (text) cannot be asked in writing")
    if not clips:
        raise VTBError(f"{conversation.id}: a mixed prompt needs a clip")
    forms = {"text": _written(conversation, clips)}
    if any(turn.role == "user" and not hasattr(turn, "cut") for turn in prompt):
        return forms | {"half": conversation}
    forms["speech"] = conversation
    return forms | {"half": _written(conversation, clips[::2])} if len(clips) > 1 else forms


def _written(conversation: Any, places: Sequence[int]) -> Any:
    turns = [
        TextTurn(value=turn.text, role=turn.role) if place in places else turn
        for place, turn in enumerate(conversation.turns)
    ]
    return fastcopy(conversation, turns=turns)
