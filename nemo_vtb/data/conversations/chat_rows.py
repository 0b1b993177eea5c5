"""From a row of a chat file to a NeMoMultimodalConversation with a kind.

Rows of recognition, translation and question-answering corpora become conversations in ``instructed.py``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
from nemo.collections.common.data.lhotse.text_adapters import AudioTurn, TextTurn

from nemo_vtb.data.audio.audio_stores import AudioStore
from nemo_vtb.data.conversations.kinds import ALIGN
from nemo_vtb.data.conversations.turns import ROLES, ClipRules, Turn, check_order, clip, role_of
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.options import TURN_TAGS
from nemo_vtb.data.row_forms.fields import Tracked, check_meaning, clip_fields, names_clip_file
from nemo_vtb.data.row_forms.languages import named_language
from nemo_vtb.data.row_forms.parts import ClipPart, RowClips, count_placeholders, parts_of
from nemo_vtb.data.row_forms.placeholders import check_said, holds_tag
from nemo_vtb.data.row_forms.plain import PlainRow, has_plain_fields, is_plain_tag
from nemo_vtb.data.row_forms.switches import ContextTurn, is_learnt, learns_last_only, with_switches
from nemo_vtb.data.row_forms.values import clean, is_empty
from nemo_vtb.data.row_forms.values import field as field_of
from nemo_vtb.data.row_forms.visible import has_text

# A draw: how a row looks in a given epoch.
Draw = Callable[[int], NeMoMultimodalConversation]

# LangChain says by the type of a message who speaks.
_SPEAKERS = ("human", "user", "ai", "assistant", "system")
_ASIDE = ("analysis", "commentary")
# What is read of plain rows, and of their turns.
_PLAIN_ROW = frozenset(("id", "conversations", "custom", "lang", "target_lang"))
_PLAIN_TURN = frozenset(("from", "type", "value"))
_SFT_CLIPS = "rows of type share_gpt: nemo_sft_jsonl is text"
# YAML takes Norway's for false.
_LANGUAGES = ("lang", "source_lang", "target_lang")


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
        learn: ``all`` answers of a conversation, or the ``last`` one only.
        keep_empty: Whether empty answers are learnt: to say nothing where nobody speaks.
    """

    kind: str
    source: str
    rules: ClipRules
    frame_seconds: float
    tags: Mapping[str, Any] = field(default_factory=dict)
    learn: str = "all"
    keep_empty: bool = False

    def conversation(
        self, name: str, turns: list[Turn], custom: Any = None, last_only: bool = False
    ) -> NeMoMultimodalConversation:
        """Tags a list of turns and opens it as the tags say.

        Args:
            name: The sample's id.
            turns: Answers that are context only are ContextTurns.
            custom: Travels along.
            last_only: Whether its row says that only the last answer is learnt.

        Raises:
            BadRow: If no prompt format could write the turns, or nothing of them is learnt.
        """
        if "context" in self.tags and isinstance(turns[0] if turns else None, AudioTurn):
            turns = [TextTurn(value=self.tags["context"], role="user"), *turns]
        if "system_prompt" in self.tags and not (turns and turns[0].role == "system"):
            turns = [TextTurn(value=self.tags["system_prompt"], role="system"), *turns]
        if self.kind != ALIGN:
            turns = with_switches(turns, last_only or self.learn == "last", self.keep_empty)
            check_order(turns, self.keep_empty)
        extra = {key: "no" if value is False and key in _LANGUAGES else value
                 for key, value in self.tags.items() if key not in TURN_TAGS}  # fmt: skip
        own = custom if isinstance(custom, dict) else {}
        return NeMoMultimodalConversation(
            id=name,
            turns=turns,
            token_equivalent_duration=self.frame_seconds,
            custom={**own, **extra, "kind": self.kind, "source": self.source},
        )

    def plain(self, turns: list[tuple[str, str]]) -> list[tuple[str, str]] | None:
        """Opens turns that are all to be learnt as ``conversation`` does; None where that takes more than a look.

        Args:
            turns: ``(role, text)``, the answers not empty.
        """
        opening: Any = self.tags.get("system_prompt")
        if self.kind == ALIGN or self.learn != "all" or not self.tags.keys().isdisjoint(("context", "unscored")):
            return None
        if "system_prompt" in self.tags and turns[0][0] != "system":
            turns = [("system", opening), *turns]
        roles = [role for role, _ in turns]
        body = roles[1:] if roles[0] == "system" else roles
        alternate = set(body[::2]) == {"user"} and set(body[1::2]) == {"assistant"}
        return turns if alternate and (opening is None or type(opening) is str) else None


class ChatParser:
    """Parses rows that are conversations already.

    Args:
        context: What the rows share.
        written: Whether rows without clips are text that may talk of anything, tags included: by default those of kind
            ``text`` are.
    """

    def __init__(self, context: RowContext, written: bool | None = None) -> None:
        self._context = context
        self._written = context.kind == "text" if written is None else written

    def conversation(self, row: dict[str, Any], where: str, store: AudioStore) -> Draw:
        """Parses NeMo's multimodal_conversation row: ``conversations`` of ``from``, ``type`` and ``value``.

        Raises:
            BadRow: If the row is no conversation, or holds a clip or another field that changes what it means.
        """
        check_meaning(row)
        _no_clips(row, ("conversations",), "turns of type audio")
        turns: list[Turn] = []
        messages = field_of(row, "conversations", list)
        heard = any(isinstance(turn, dict) and dict.get(turn, "type") == "audio" for turn in messages)
        for turn in messages:
            role = role_of(turn)
            check_meaning(turn)
            learnt = is_learnt(turn, role)
            if _is_audio(turn):
                turns.append(self._context.rules.turn(clip(turn, "value", store), role, _transcript(turn.get("text"))))
            else:
                _no_clips(turn, ("value", "text"), "turns of type audio")
                text = _said(turn, role, self._written and not heard, "clips are turns of type audio")
                turns.append(_text_turn(text, role, learnt))
        return self._fixed(row, where, turns)

    def plain_conversation(self, row: dict[str, Any], where: str, store: AudioStore) -> PlainRow | None:
        """Reads what ``conversation`` reads of a plain row of text; None where the row is not plain."""
        if not has_plain_fields(row, _PLAIN_ROW, nested="conversations"):
            return None
        messages = row.get("conversations")
        if type(messages) is not list or not messages or not is_plain_tag(row.get("lang")):
            return None
        turns = []
        for turn in messages:
            if type(turn) is not dict or not has_plain_fields(turn, _PLAIN_TURN):
                return None
            role, text = ROLES.get(str(turn.get("from")).lower()), turn.get("value")
            if role is None or type(text) is not str or turn.get("type", "text") != "text":
                return None
            if (names_clip_file(text) or holds_tag(text)) if role == "user" else not has_text(text):
                return None
            turns.append((role, text))
        opened = self._context.plain(turns)
        return PlainRow(opened) if opened is not None and is_plain_tag(row.get("target_lang")) else None

    def share_gpt(self, row: dict[str, Any], where: str, store: AudioStore) -> Draw:
        """Parses ShareGPT, OpenAI, Transformers and ms-swift rows.

        ``conversations`` or ``messages`` hold placeholders, clips stand in their order under ``audios`` or another
        field. NeMo's ``sound`` may be named by several placeholders, or hold several clips for one. A message may also
        be a list of text and audio parts, each with its clip.

        Raises:
            BadRow: If the row is no conversation, or placeholders and clips do not agree.
        """
        check_meaning(row)
        messages = _messages(row)
        # HTML talks of <audio> too: in plain text without clips it is a word like any other.
        holders = [row, *(message for message in messages if isinstance(message, dict))]
        literal = self._written and not any(_beside(holder) for holder in holders)
        clips = None if literal else RowClips(row, "the row", count_placeholders(messages))
        turns: list[Turn] = []
        for message in messages:
            role = role_of(message)
            check_meaning(message)
            _check_text_type(message)
            learnt = is_learnt(message, role)
            for part in parts_of(message, role, clips, literal):
                if isinstance(part, ClipPart):
                    cut = clip({**part.claims, part.key: part.value}, part.key, store)
                    turns.append(self._context.rules.turn(cut, role, _transcript(part.transcript)))
                else:
                    turns.append(_text_turn(part, role, learnt))
        if clips is not None:
            clips.check_all_used()
        return self._fixed(row, where, _opened(row, turns))

    def nemo_sft(self, row: dict[str, Any], where: str, store: AudioStore) -> Draw:
        """Parses NeMo chat SFT rows: ``system``, ``conversations`` of ``from`` and ``value``; text only.

        Raises:
            BadRow: If the row is no conversation.
        """
        check_meaning(row)
        _no_clips(row, ("conversations", "system"), _SFT_CLIPS)
        turns: list[Turn] = []
        for turn in field_of(row, "conversations", list):
            role = role_of(turn)
            check_meaning(turn)
            _check_text_type(turn)
            _no_clips(turn, ("value",), _SFT_CLIPS)
            text = _said(turn, role, True, f"clips are {_SFT_CLIPS}")
            turns.append(_text_turn(text, role, is_learnt(turn, role)))
        return self._fixed(row, where, _opened(row, turns))

    def _fixed(self, row: dict[str, Any], where: str, turns: list[Turn]) -> Draw:
        custom = with_languages(row.get("custom"), row.get("lang"), row.get("target_lang"))
        conversation = self._context.conversation(row_name(row, where), turns, custom, learns_last_only(row))
        return lambda epoch: conversation


def with_languages(custom: Any, source: Any, target: Any) -> dict[str, Any]:
    """Returns what travels with a conversation, with the languages that its row names as ``lang``, ``target_lang``.

    Raises:
        BadRow: If one of them is no text.
    """
    named = {"lang": named_language("lang", source), "target_lang": named_language("target_lang", target)}
    own = custom if isinstance(custom, dict) else {}
    return own | {key: value for key, value in named.items() if value is not None}


def row_name(row: dict[str, Any], where: str) -> str:
    """Returns the row's id, or its folder, file and line: the same wherever the corpus lies."""
    if row.get("id") not in (None, ""):
        return clean(str(row["id"]))
    return "/".join(PurePath(where).parts[-2:])


def _messages(row: dict[str, Any]) -> list[Any]:
    found = [key for key in ("messages", "conversations") if not is_empty(row.get(key))]
    if len(found) > 1:
        raise BadRow("contradiction", "both 'messages' and 'conversations' hold a conversation: which of them?")
    messages = row[found[0]] if found else None
    if isinstance(messages, str) and messages.lstrip().startswith(("[", "{")):  # columns of tables often hold JSON
        try:
            messages = json.loads(messages)
        except ValueError as error:
            raise BadRow("broken JSON", f"broken JSON under '{found[0]}': {error}") from error
    if isinstance(messages, dict) and messages and all(isinstance(column, list) for column in messages.values()):
        messages = row[found[0]] = _from_columns(messages, found[0])
    if not isinstance(messages, list):
        raise BadRow("missing field", "neither 'messages' nor 'conversations' is a list")
    return messages


def _from_columns(columns: dict[str, list[Any]], key: str) -> list[Any]:
    """The messages of ``{"role": [...], "content": [...]}``, which is what a ``Sequence`` of ``datasets`` becomes."""
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        said = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
        raise BadRow("contradiction", f"the columns under '{key}' are of different lengths: {said}")
    return [Tracked(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]


def _is_audio(turn: dict[str, Any]) -> bool:
    """Whether NeMo's turn is a clip; what is neither text nor audio is refused, whatever else NeMo takes for a clip."""
    kind = turn.get("type", "text")
    if kind not in ("text", "audio"):
        raise BadRow("unknown turn type", f"a turn is of type {str(kind)[:40]!r}; known are 'text' and 'audio'")
    return kind == "audio"


def _check_text_type(message: dict[str, Any]) -> None:
    """Refuses messages that say they are no text: NeMo's turns of type audio in a file of another type."""
    kind = message.get("type")
    if kind is not None and str(kind).lower() not in ("text", "message", "chat", *_SPEAKERS):
        raise BadRow(
            "unknown turn type",
            f"a message is of type {str(kind)[:40]!r}: turns with a type are multimodal_conversation",
        )
    if str(dict.get(message, "channel")).lower() in _ASIDE:  # of OpenAI's harmony format
        raise BadRow("reasoning", f"a message of the channel {message['channel']!r} is no answer to anybody")


def _beside(holder: dict[str, Any]) -> list[str]:
    """The fields of a row or a message that name clips beside its words."""
    words = ("messages", "conversations", "system", "content", "value", "text")
    return [name for name in clip_fields(holder) if name not in words]


def _no_clips(holder: dict[str, Any], words: tuple[str, ...], instead: str) -> None:
    if found := [name for name in clip_fields(holder) if name not in words]:
        raise BadRow("clip in another field", f"the clip under '{found[0]}' is read by nobody: clips are {instead}")


def _said(turn: dict[str, Any], role: str, literal: bool, instead: str) -> str:
    text: str = field_of(turn, "value", str)
    return check_said(text, literal, instead) if role == "user" else text


def _text_turn(text: str, role: str, learnt: bool) -> TextTurn:
    return (TextTurn if learnt or role != "assistant" else ContextTurn)(value=text, role=role)


def _opened(row: dict[str, Any], turns: list[Turn]) -> list[Turn]:
    """The turns behind the system prompt that stands beside them; one that opens them already is not said twice."""
    found = [key for key in ("system", "system_prompt") if not is_empty(row.get(key))]
    if len({str(row[key]) for key in found}) > 1:
        raise BadRow("contradiction", "'system' and 'system_prompt' differ: which of them?")
    if not found:
        return turns
    prompt: str = field_of(row, found[0], str)
    if not turns or turns[0].role != "system":
        return [TextTurn(value=prompt, role="system"), *turns]
    if getattr(turns[0], "value", "").strip() != prompt.strip():
        raise BadRow("contradiction", f"'{found[0]}' and the system's own turn differ: which of them?")
    return turns


def _transcript(text: Any) -> str | None:
    return clean(text) if isinstance(text, str) and text else None
