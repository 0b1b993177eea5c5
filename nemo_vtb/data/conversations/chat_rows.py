"""From a row of a chat file to a NeMoMultimodalConversation with a kind.

Rows of recognition, translation and question-answering corpora become conversations in ``instructed.py``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
from nemo.collections.common.data.lhotse.text_adapters import AudioTurn, TextTurn

from nemo_vtb.data.conversations.kinds import ALIGN
from nemo_vtb.data.conversations.turns import ClipRules, Turn, check_order, clean, clip, role_of
from nemo_vtb.data.conversations.turns import field as field_of
from nemo_vtb.data.files.audio_stores import AudioStore
from nemo_vtb.data.files.rows import BadRow

# A draw: how a row looks in a given epoch.
Draw = Callable[[int], NeMoMultimodalConversation]

# NeMo's share_gpt reader knows the first two, ms-swift and LLaMA-Factory the third.
PLACEHOLDERS = ("<sound>", "<speech>", "<audio>")
_CLIP_FIELDS = {"audios", "sound", "ori_sound"}
# Tags that say what a conversation looks like; all others travel along in ``custom``.
_SHAPING_TAGS = ("system_prompt", "context")


@dataclass(frozen=True)
class RowContext:
    """What all rows of one source share.

    Attributes:
        kind: The kind every conversation is tagged with.
        source: The name it is counted under.
        rules: What a clip must be like.
        frame_seconds: Audio per LLM position, for lengths.
        tags: NeMo's ``tags``: ``system_prompt`` and ``context`` open conversations that lack them; languages say what a
            corpus holds; anything else is attached to each conversation.
    """

    kind: str
    source: str
    rules: ClipRules
    frame_seconds: float
    tags: Mapping[str, Any] = field(default_factory=dict)

    def conversation(self, name: str, turns: list[Turn], custom: Any = None) -> NeMoMultimodalConversation:
        """Tags a list of turns and opens it as the tags say.

        Raises:
            BadRow: If no prompt format could write the turns.
        """
        if "context" in self.tags and isinstance(turns[0] if turns else None, AudioTurn):
            turns = [TextTurn(value=self.tags["context"], role="user"), *turns]
        if "system_prompt" in self.tags and not (turns and turns[0].role == "system"):
            turns = [TextTurn(value=self.tags["system_prompt"], role="system"), *turns]
        if self.kind != ALIGN:
            check_order(turns)
        extra = {key: value for key, value in self.tags.items() if key not in _SHAPING_TAGS}
        own = custom if isinstance(custom, dict) else {}
        return NeMoMultimodalConversation(
            id=name,
            turns=turns,
            token_equivalent_duration=self.frame_seconds,
            custom={**own, **extra, "kind": self.kind, "source": self.source},
        )


class ChatParser:
    """Parses rows that are conversations already.

    Args:
        context: What the rows share.
    """

    def __init__(self, context: RowContext) -> None:
        self._context = context

    def conversation(self, row: dict[str, Any], where: str, store: AudioStore) -> Draw:
        """Parses NeMo's multimodal_conversation row: ``conversations`` of ``from``, ``type`` and ``value``.

        Raises:
            BadRow: If the row is no conversation.
        """
        turns: list[Turn] = []
        for turn in field_of(row, "conversations", list):
            role = role_of(turn)
            if turn.get("type", "text") == "audio":
                turns.append(self._context.rules.turn(clip(turn, "value", store), role, _transcript(turn)))
            else:
                turns.append(TextTurn(value=field_of(turn, "value", str), role=role))
        return self._fixed(row, where, turns)

    def share_gpt(self, row: dict[str, Any], where: str, store: AudioStore) -> Draw:
        """Parses ShareGPT and ms-swift rows.

        ``conversations`` or ``messages`` hold placeholders, clips stand in their order under ``audios``. NeMo's single
        ``sound`` (or ``ori_sound``) may be named by several placeholders. A message may also be a list of text and
        audio parts.

        Raises:
            BadRow: If the row is no conversation, or placeholders and clips do not agree.
        """
        messages = row.get("messages") or row.get("conversations")
        if not isinstance(messages, list):
            raise BadRow("missing field", "neither 'messages' nor 'conversations' is a list")
        # HTML talks of <audio> too: in plain text without clips it is a word like any other.
        literal = self._context.kind == "text" and not _CLIP_FIELDS & row.keys()
        clips = None if literal else _Clips(row)
        turns: list[Turn] = _opening(row)
        for message in messages:
            role = role_of(message)
            for text, audio in _parts(message, clips):
                if audio is not None:
                    turns.append(self._context.rules.turn(clip({**message, "value": audio}, "value", store), role))
                elif text.strip() or role == "assistant":
                    turns.append(TextTurn(value=clean(text.strip()), role=role))
        if clips is not None:
            clips.check_all_used()
        return self._fixed(row, where, turns)

    def nemo_sft(self, row: dict[str, Any], where: str, store: AudioStore) -> Draw:
        """Parses NeMo chat SFT rows: ``system``, ``conversations`` of ``from`` and ``value``; text only.

        Raises:
            BadRow: If the row is no conversation.
        """
        if row.get("mask", "User") != "User":
            raise BadRow("nothing supervised", f"mask is {row['mask']!r}: only the assistant's turns can be learnt")
        turns = [
            TextTurn(value=field_of(t, "value", str), role=role_of(t)) for t in field_of(row, "conversations", list)
        ]
        return self._fixed(row, where, [*_opening(row), *turns])

    def _fixed(self, row: dict[str, Any], where: str, turns: list[Turn]) -> Draw:
        custom = with_languages(row.get("custom"), row.get("lang"), row.get("target_lang"))
        conversation = self._context.conversation(row_name(row, where), turns, custom)
        return lambda epoch: conversation


def with_languages(custom: Any, source: Any, target: Any) -> dict[str, Any]:
    """Returns what travels with a conversation, with the languages that its row names as ``lang``, ``target_lang``."""
    named = {"lang": source, "target_lang": target}
    own = custom if isinstance(custom, dict) else {}
    return own | {key: value for key, value in named.items() if isinstance(value, str)}


def row_name(row: dict[str, Any], where: str) -> str:
    """Returns the row's id, or its folder, file and line: the same wherever the corpus lies."""
    if row.get("id") is not None:
        return clean(str(row["id"]))
    return "/".join(PurePath(where).parts[-2:])


class _Clips:
    """The clips of a row, handed out in the order of its placeholders."""

    def __init__(self, row: dict[str, Any]) -> None:
        listed = row.get("audios")
        self._single = row.get("sound") or row.get("ori_sound")
        self._left = [listed] if isinstance(listed, str) else list(listed or []) if isinstance(listed, list) else []
        self._used_single = False

    def take(self) -> str:
        if self._left:
            entry = self._left.pop(0)
            entry = entry.get("path") if isinstance(entry, dict) else entry
            return field_of({"audios": entry}, "audios", str)
        if isinstance(self._single, str):
            self._used_single = True
            return self._single
        raise BadRow("wrong placeholder count", "more audio placeholders than entries in 'audios'")

    def check_all_used(self) -> None:
        if self._left:
            raise BadRow("wrong placeholder count", f"{len(self._left)} entries in 'audios' have no audio placeholder")
        if self._single and not self._used_single:
            raise BadRow("wrong placeholder count", "the clip under 'sound' has no audio placeholder")


def _opening(row: dict[str, Any]) -> list[Turn]:
    system = row.get("system")
    return [TextTurn(value=clean(system), role="system")] if isinstance(system, str) and system.strip() else []


def _transcript(turn: dict[str, Any]) -> str | None:
    text = turn.get("text")
    return clean(text) if isinstance(text, str) and text else None


def _parts(message: dict[str, Any], clips: _Clips | None) -> list[tuple[str, str | None]]:
    """The ``(text, audio)`` parts of a message, one of the two in each."""
    content = message.get("content", message.get("value", message.get("text")))
    if isinstance(content, list):
        return [_typed_part(part, clips) for part in content]
    if not isinstance(content, str):
        raise BadRow("missing field", "a message has no text under 'content' or 'value'")
    if clips is None:
        return [(content, None)]
    for other in PLACEHOLDERS[1:]:
        content = content.replace(other, PLACEHOLDERS[0])
    parts: list[tuple[str, str | None]] = []
    for number, text in enumerate(content.split(PLACEHOLDERS[0])):
        if number:
            parts.append(("", clips.take()))
        parts.append((text, None))
    return parts


def _typed_part(part: Any, clips: _Clips | None) -> tuple[str, str | None]:
    if isinstance(part, dict) and part.get("type") == "text":
        return field_of(part, "text", str), None
    if isinstance(part, dict) and part.get("type") == "audio":
        return "", field_of(part, "audio", str) if clips is None or part.get("audio") else clips.take()
    raise BadRow("missing field", f"a part of a message is neither text nor audio: {str(part)[:80]}")
