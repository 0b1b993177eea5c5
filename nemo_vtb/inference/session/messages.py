"""From OpenAI-shaped messages, whose content is a text or a list of typed parts, to turns."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.audio_input import USUAL, Limits, Sound, of_part, read_sound

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
# What OpenAI's messages may hold beside their content, and what would be left out of the conversation.
_MORE = ("tool_calls", "function_call", "audio")
_SPOKEN = ("input_audio", "audio_url", "audio")


class Turn(NamedTuple):
    """What one side says.

    Attributes:
        role: ``system``, ``user`` or ``assistant``.
        parts: Words and recordings in their order; what was typed has its own white space.
    """

    role: str
    parts: tuple[str | Sound, ...]

    @property
    def sounds(self) -> list[Sound]:
        """The recordings."""
        return [part for part in self.parts if isinstance(part, Sound)]


def read_messages(
    messages: Sequence[Mapping[str, Any]],
    rate: int,
    limits: Limits = USUAL,
    local: bool = True,
) -> list[Turn]:
    """Reads a conversation that ends with the user's turn.

    A part is ``{"type": "text", "text": ...}``, ``input_audio`` (base64), ``audio_url`` (a data URL) or ``audio`` (any
    source of ``read_sound``). Neighbouring turns of one role become one. Parts without white space between them are
    set apart by a space, as they are in training.

    Args:
        messages: Oldest first.
        rate: Of the recordings returned, in Hz.
        limits: Of each recording.
        local: Whether parts may name files of this machine; never for messages that come over a network.

    Raises:
        VTBError: Names the message and the part that is wrong.
    """
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence) or not messages:
        raise VTBError("messages is a list of at least one {'role': ..., 'content': ...}")
    turns: list[Turn] = []
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        turn = _turn(message, where, rate, limits, local)
        if turn.role == "system" and any(earlier.role != "system" for earlier in turns):
            raise VTBError(f"{where}: a system message stands at the beginning of a conversation")
        if turns and turns[-1].role == turn.role:
            between = "\n\n" if turn.role == "system" else " "
            turns[-1] = Turn(turn.role, _spaced([*turns[-1].parts, *turn.parts], between))
        else:
            turns.append(turn)
    if turns[-1].role != "user":
        raise VTBError(f"messages[{len(messages) - 1}]: the last message is the user's, which is answered")
    return turns


def spaced(parts: Sequence[str | Sound]) -> tuple[str | Sound, ...]:
    """Sets parts apart by a space where there is no white space between them."""
    return _spaced(parts, " ")


def whole_text(text: str, where: str) -> str:
    """Returns a text that tokenizers take and files hold.

    Args:
        text: Whatever came.
        where: Its place, for the message.

    Raises:
        VTBError: If half of a letter stands in it: JSON may cut an emoji in two, and a terminal send any byte.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = "half a surrogate pair, or a byte that is not UTF-8,"
        raise VTBError(f"{where}: {half} at character {error.start}: send whole letters") from error
    return text


def _turn(message: Any, where: str, rate: int, limits: Limits, local: bool) -> Turn:
    if not isinstance(message, Mapping):
        raise VTBError(f"{where} is no object with role and content")
    role = _ROLES.get(str(message.get("role")))
    if role is None:
        raise VTBError(f"{where}: role is {shortened(message.get('role'))}; it is system, user or assistant")
    for key in _MORE:
        if message.get(key):
            raise VTBError(f"{where}: {key} is {shortened(message[key])}: this model hears and reads content alone")
    content = message.get("content")
    if isinstance(content, str):
        return Turn(role, (whole_text(content, where),))
    if not isinstance(content, Sequence) or isinstance(content, bytes) or not content:
        raise VTBError(f"{where}: content is {shortened(content)}; it is a text or a list of parts")
    parts = [_part(part, role, f"{where}.content[{at}]", rate, limits, local) for at, part in enumerate(content)]
    return Turn(role, spaced(parts))


def _part(part: Any, role: str, where: str, rate: int, limits: Limits, local: bool) -> str | Sound:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return whole_text(part["text"], where)
    if kind not in _SPOKEN or (kind == "audio" and not local):
        raise VTBError(
            f"{where}: {shortened(kind if isinstance(part, Mapping) else part)} is no part of a message; there are "
            "text, input_audio and audio_url"
        )
    if role != "user":
        raise VTBError(f"{where}: recordings are heard in the user's messages alone")
    name = part.get("name")
    if isinstance(name, str):
        whole_text(name, f"{where}.name")
    source = of_part(part, where, limits, local)
    named = name if isinstance(name, str) else None if isinstance(source, str) else where
    return read_sound(source, rate, limits, named)


def _spaced(parts: Sequence[str | Sound], between: str) -> tuple[str | Sound, ...]:
    found: list[str | Sound] = []
    for part in parts:
        if part == "":
            continue
        if found and not _blank(found[-1], -1) and not _blank(part, 0):
            found.append(between)
        found.append(part)
    return tuple(found)


def _blank(part: str | Sound, at: int) -> bool:
    return isinstance(part, str) and part[at].isspace()


def shortened(value: Any) -> str:
    """Writes what stands in the place of something else, for an error: 60 characters of it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
