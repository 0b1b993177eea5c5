"""The parts of a message, texts and clips in their order, in any of the forms in which people write them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from nemo_vtb.data.audio.claims import span_words
from nemo_vtb.data.files.notes import note
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.row_forms.clip_forms import check_one_clip
from nemo_vtb.data.row_forms.fields import check_meaning, clip_fields, names_clip_file, normal
from nemo_vtb.data.row_forms.placeholders import check_words, find_placeholders
from nemo_vtb.data.row_forms.switches import is_learnt
from nemo_vtb.data.row_forms.values import clean
from nemo_vtb.data.row_forms.values import field as field_of

_TEXT = ("text", "input_text", "output_text")
_AUDIO = ("audio", "input_audio", "audio_url", "sound", "speech")
_CLAIMS = ("offset", "duration", "sampling_rate", "sample_rate", "channel", "channel_selector")
# Fields of a message that are its words.
_WORDS = ("content", "value", "text", "transcript", "from", "role", "type")
# What a clip is called that stands in the words, or that a part of them consists of.
_UNNAMED = "content"
_NEMO = ("sound", "ori_sound", "speech")
_CONSISTS = ("value", "path", "url", "uri", "file", "filename", "data", "array", "bytes")


@dataclass
class ClipPart:
    """A clip within a message.

    Attributes:
        value: How its recording is named.
        key: The field that names it.
        claims: ``offset``, ``duration`` and the like, where its row has them.
        transcript: What is said in it, where the row says so.
    """

    value: Any
    key: str
    claims: dict[str, Any] = field(default_factory=dict)
    transcript: Any = None


class RowClips:
    """The clips that a row or a message names beside its text, handed out in the order of the placeholders.

    Args:
        holder: The row or the message.
        where: What it is called.
        placeholders: How many placeholders there are for them.

    Raises:
        BadRow: If several fields name clips.
    """

    def __init__(self, holder: Mapping[str, Any], where: str, placeholders: int) -> None:
        names = [name for name in clip_fields(holder) if name not in (*_WORDS, "messages", "conversations", "system")]
        if len(names) > 1:  # NeMo's original of a recording that was worked on
            names = [name for name in names if name not in ("ori_sound", "orig_audio_filepath")]
        if len(names) > 1 and any(holder[name] != holder[names[0]] for name in names):
            raise BadRow(
                "wrong placeholder count",
                f"clips of {where} stand under {' and '.join(map(repr, names))}: list all of them under 'audios'",
            )
        self.key, self._where, self._holder = (names[0] if names else None), where, holder
        listed = holder.get(names[0]) if names else []
        for name in names[1:]:
            holder.get(name)
        self._left = _listed(listed)
        self._count, self._taken = len(self._left), 0
        self._numbered_from = 1 if where == "the row" else None
        self._repeated = self._count == 1 and self.key in _NEMO and placeholders > 1
        self._at_once = self._count if self.key in _NEMO and placeholders == 1 else 1

    def __bool__(self) -> bool:
        return bool(self._left)

    def take(self, message: Mapping[str, Any], tagged: str = "", number: int | None = None) -> list[ClipPart]:
        """Returns what the next placeholder stands for.

        Args:
            message: Whose text has the placeholder.
            tagged: The path within the placeholder.
            number: The number within the placeholder, from 1.

        Raises:
            BadRow: If there is nothing left, or the placeholder names another clip.
        """
        if number is not None:
            self._numbered_from = number if self._numbered_from is None else self._numbered_from
            if number != self._numbered_from + (0 if self._repeated else self._taken):
                raise BadRow(
                    "wrong placeholder count",
                    f"placeholder number {number} stands for clip {self._taken + 1}: write them in the clips' order",
                )
        if not self._left:
            missing = f"more audio placeholders than entries in '{self.key}'"
            nothing = "there is an audio placeholder, and neither its message nor its row names a clip ('audios')"
            raise BadRow("wrong placeholder count", missing if self.key else nothing)
        taken = []
        for _ in range(self._at_once):
            value = self._left[0] if self._repeated else self._left.pop(0)
            if tagged and isinstance(value, str) and value.rpartition("/")[2] != tagged.rpartition("/")[2]:
                raise BadRow(
                    "wrong placeholder count", f"the text names {tagged!r} where '{self.key}' has {value[:80]!r}"
                )
            taken.append(ClipPart(value, self.key or _UNNAMED, self._claims(message)))
            self._taken += 1
        return taken

    def check_all_used(self) -> None:
        """Refuses clips for which there is no placeholder.

        Raises:
            BadRow: Names the field.
        """
        left = len(self._left) if not (self._repeated and self._taken) else 0
        if left and self._count == 1:
            raise BadRow("wrong placeholder count", f"the clip under '{self.key}' of {self._where} has no placeholder")
        if left:
            raise BadRow("wrong placeholder count", f"{left} entries in '{self.key}' have no audio placeholder")

    def _claims(self, message: Mapping[str, Any]) -> dict[str, Any]:
        # Of several clips nobody knows which of them a span of the row belongs to: it stays unread.
        claims: dict[str, Any] = {**(span_words(self._holder) if self._count == 1 else {}), **span_words(message)}
        for name in _CLAIMS:
            value = message.get(name)
            if value is None and self._holder is not message:
                value = self._holder.get(name)
                if value is not None and self._count > 1 and not isinstance(value, list):
                    raise BadRow("wrong placeholder count", f"'{name}' of the row: of which of its clips?")
            if isinstance(value, list):
                if self._taken >= len(value) > 1:
                    raise BadRow("wrong placeholder count", f"'{name}' has {len(value)} entries, fewer than clips")
                value = value[min(self._taken, len(value) - 1)] if value else None
            if value is not None:
                claims[name] = value
        return claims


def words_of(message: Mapping[str, Any]) -> Any:
    """Returns what a message says, a text or a list of parts.

    Raises:
        BadRow: If it says two things.
    """
    said = {key: message.get(key) for key in ("content", "value", "text") if message.get(key) is not None}
    if len({str(value) for value in said.values()}) > 1:
        raise BadRow("contradiction", f"a message says different things under {' and '.join(map(repr, said))}")
    return next(iter(said.values()), None)


def count_placeholders(messages: Sequence[Any]) -> int:
    """Returns how many places of the users' messages wait for a clip that is named elsewhere."""
    count = 0
    for message in messages:
        if not isinstance(message, dict) or _answers(message):
            continue
        words = next((dict.get(message, key) for key in ("content", "value", "text") if key in message), None)
        for part in words if isinstance(words, list) else [words]:
            if isinstance(part, str):
                count += len(find_placeholders(part))
            elif isinstance(part, dict) and isinstance(text := dict.get(part, "text"), str):
                count += len(find_placeholders(text))
            elif isinstance(part, dict) and normal(str(dict.get(part, "type", ""))) in _AUDIO and not _own(part):
                count += 1
    return count


def _answers(message: dict[str, Any]) -> bool:
    who = dict.get(message, "from")
    return str(dict.get(message, "role") if who is None else who).lower() in ("assistant", "gpt", "model")


def parts_of(message: Mapping[str, Any], role: str, clips: RowClips | None, literal: bool) -> list[str | ClipPart]:
    """Returns the texts and clips of a message in their order; neighbouring texts are one.

    Args:
        message: With its words under ``content``, ``value`` or ``text``.
        role: Who speaks; placeholders in an answer are words.
        clips: Those of the row.
        literal: Whether placeholders are words unless they hold the name of a recording.

    Raises:
        BadRow: If there is a part that is neither text nor audio, or clips and placeholders do not agree.
    """
    words = words_of(message)
    own = RowClips(message, "a message", count_placeholders([message]))
    if words is None:
        raise BadRow("missing field", "a message has no text under 'content' or 'value'")
    parts: list[str | ClipPart] = []
    for part in words if isinstance(words, list) else [words]:
        if isinstance(part, str):
            found = [part] if role == "assistant" else list(_split(part, message, own or clips, literal))
        else:
            if isinstance(part, dict) and role == "assistant" and not is_learnt(part, role):
                raise BadRow("loss switch", "a part of an answer has a switch of its own: a message can have one")
            found = _typed(part, message, own or clips)
            if role != "assistant" and found and isinstance(found[0], str):
                found = list(_split(found[0], message, own or clips, literal))
        for piece in found:
            if isinstance(piece, str) and parts and isinstance(parts[-1], str):
                parts[-1] += piece
            else:
                parts.append(piece)
    own.check_all_used()
    parts = parts or [""]
    if role == "user" and len(parts) == 1 and isinstance(parts[0], str) and names_clip_file(parts[0]):
        raise BadRow("clip in text", f"the user's words are the name of a recording: {parts[0][:80]!r}")
    return _trimmed(parts)


def _split(text: str, message: Mapping[str, Any], clips: RowClips | None, literal: bool) -> Iterator[str | ClipPart]:
    at = 0
    for found in find_placeholders(text):
        if literal and not names_clip_file(found.path):
            continue
        yield check_words(text[at : found.start], literal)
        at = found.end
        if found.path and not clips and (clips is None or clips.key is None):
            yield ClipPart(found.path, _UNNAMED, _claims_of(message))
        elif clips is None:
            raise BadRow("wrong placeholder count", "a message has an audio placeholder, and its row no clip")
        else:
            yield from clips.take(message, found.path, found.number)
    yield check_words(text[at:], literal)


def _typed(part: Any, message: Mapping[str, Any], clips: RowClips | None) -> list[str | ClipPart]:
    if not isinstance(part, dict):
        raise BadRow("missing field", f"a part of a message is neither text nor audio: {str(part)[:80]}")
    check_meaning(part)
    kind = part.get("type") or ("text" if isinstance(dict.get(part, "text"), str) else None)
    if kind is None and not _own(part):
        raise BadRow(
            "missing field", f"a part of a message has neither a text, nor a clip, nor a type: {str(part)[:80]}"
        )
    name = normal(str(kind or "audio"))
    if name in _TEXT:
        if others := [key for key in clip_fields(part) if key not in _WORDS]:
            raise BadRow("wrong placeholder count", f"a part of type {name} names a clip under '{others[0]}'")
        return [field_of(part, "text" if "text" in part else "content", str)]
    if name not in _AUDIO:
        raise BadRow(_reason(name), f"a part of a message is neither text nor audio but '{name}'")
    if not (own := _own(part)):
        if clips is None:
            raise BadRow("missing field", "a part of type audio names no clip ('audio' is missing)")
        return list(clips.take(message))
    key, value = own[0]
    if any(other != value for _, other in own):
        raise BadRow("wrong placeholder count", f"a part of a message names two clips: {str(part)[:80]}")
    if value is not part:
        check_one_clip((value, *(dict.get(part, name) for name in _CONSISTS)), "a part of a message")
    if part.get("text"):
        note("words beside a clip", f"'text' of a part of type {name} is taken for what is said in its clip")
    return [ClipPart(value, key, _claims_of(part), part.get("text") or part.get("transcript"))]


def _listed(value: Any) -> list[Any]:
    """The clips that a field names, one or a list of them; columns of tables often hold JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    return list(value) if isinstance(value, list) else [value]


def _claims_of(holder: Mapping[str, Any]) -> dict[str, Any]:
    claims = {name: holder.get(name) for name in _CLAIMS if holder.get(name) is not None}
    return {**span_words(holder), **claims}


def _own(part: dict[str, Any]) -> list[tuple[str, Any]]:
    """The clip of a part, once for each field that names it; the part itself where it is what the clip consists of."""
    if named := [key for key in clip_fields(part) if key not in _WORDS]:
        return [(key, part.get(key)) for key in named]
    return [(_UNNAMED, part)] if any(dict.get(part, key) for key in _CONSISTS) else []


def _reason(name: str) -> str:
    if any(word in name for word in ("tool", "function")):
        return "tool turn"
    if any(word in name for word in ("think", "reason")):
        return "reasoning"
    return "other media" if any(word in name for word in ("image", "video", "file", "document")) else "missing field"


def _trimmed(parts: list[str | ClipPart]) -> list[str | ClipPart]:
    """White space beside a clip goes; a message without clips stays as it stands."""
    if not any(isinstance(part, ClipPart) for part in parts):
        return [clean(part) if isinstance(part, str) else part for part in parts]
    trimmed = [clean(part.strip()) if isinstance(part, str) else part for part in parts]
    return [part for part in trimmed if part != ""]
