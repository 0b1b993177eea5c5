"""Turns of a conversation from fields of a row, with a named reason where a row does not hold what it should."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from lhotse import Recording
from lhotse.cut import Cut
from nemo.collections.common.data.lhotse.text_adapters import AudioTurn, TextTurn

from nemo_vtb.data.audio.audio_stores import AudioStore
from nemo_vtb.data.audio.claims import check_beginning, check_claims, with_own_claims
from nemo_vtb.data.audio.headers import TOLERANCE_SECONDS
from nemo_vtb.data.audio.recordings import with_selected
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.data.row_forms.clip_forms import Cell, clip_source, in_memory
from nemo_vtb.data.row_forms.visible import has_text

Turn: TypeAlias = TextTurn | AudioTurn

ROLES = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "system": "system",
    "developer": "system",
}
# A span that ends as little before its recording is the whole of it.
WHOLE_SECONDS = 0.05
_OF_TOOLS = ("tool", "function", "observation", "ipython", "environment")


@dataclass(frozen=True)
class ClipRules:
    """What a clip must be like.

    Attributes:
        audio_tag: The placeholder that stands for it in text.
        min_seconds: Shortest clip accepted.
        max_seconds: Longest clip accepted.
    """

    audio_tag: str
    min_seconds: float = 0.0
    max_seconds: float = 30.0

    def turn(self, cut: Cut, role: str, transcript: str | None = None) -> AudioTurn:
        """Makes a turn of a clip.

        Raises:
            BadRow: If the clip is too short or too long, or an answer.
        """
        if role == "assistant":
            raise BadRow("audio answer", f"the answer is a clip ({cut.id})")
        if not cut.duration > 0:
            raise BadRow("zero length", f"{cut.id} holds no samples")
        if not self.min_seconds <= cut.duration <= self.max_seconds:
            raise BadRow(
                "clip length",
                f"{cut.id} is {cut.duration:.2f} s long; clips of {self.min_seconds} to {self.max_seconds} s are used",
            )
        return AudioTurn(cut=cut, role=role, audio_locator_tag=self.audio_tag, text=transcript)


def clip(row: dict[str, Any], key: str, store: AudioStore) -> Cut:
    """Returns the span of a recording that a row names with ``key``, ``offset`` and ``duration``.

    Raises:
        BadRow: If there is no such audio, less than the row claims, or another one.
    """
    name = clip_source(row.get(key), key)
    claims = with_own_claims(row, key)
    check_beginning(claims)
    offset, seconds = _seconds(claims, "offset") or 0.0, _seconds(claims, "duration")
    if isinstance(name, bytes):
        recording = in_memory(name, key)
    elif isinstance(name, Cell):
        recording = store.cell(name.row, name.place)
    else:
        recording = store.recording(name)
    cut = span(recording, offset, seconds, recording.id)
    check_claims(claims, cut)
    return with_selected(cut, store.selector, claims, recording.id)


def span(recording: Recording, offset: float, seconds: float | None, name: str) -> Cut:
    """Cuts a span out of a recording; its id is the recording's name with the span, whatever the reader calls it.

    Raises:
        BadRow: If the recording holds less.
    """
    end = recording.duration if seconds is None else offset + seconds
    if offset >= recording.duration or end > recording.duration + TOLERANCE_SECONDS:
        raise BadRow(
            "truncated audio",
            f"{name} is {recording.duration:.2f} s long, and {offset:.2f} to {end:.2f} s is asked for",
        )
    if (min(end, recording.duration) - offset) * recording.sampling_rate < 1:
        raise BadRow("zero length", f"{name}: the span from {offset:.2f} to {end:.2f} s is empty")
    cut = recording.to_cut()
    if offset > 0 or end < recording.duration - WHOLE_SECONDS:
        cut = cut.truncate(offset=offset, duration=min(end, recording.duration) - offset)
    return cut.with_id(f"{name}@{cut.start:.3f}+{cut.duration:.3f}")


def role_of(turn: Any) -> str:
    """Returns ``user``, ``assistant`` or ``system``.

    Raises:
        BadRow: If nobody knows who speaks, or it is a tool.
    """
    if not isinstance(turn, dict):
        raise BadRow("missing field", f"a turn must be a JSON object, not {turn!r}"[:200])
    said = [str(name).lower() for name in (turn.get("from"), turn.get("role")) if name is not None]
    name = said[0] if said else ""
    if name not in ROLES and any(word in name for word in _OF_TOOLS):
        raise BadRow("tool turn", f"a turn of the role '{name[:40]}': calls of tools cannot be learnt")
    if name not in ROLES:
        raise BadRow("unknown role", f"role '{name[:40]}' is none of {', '.join(ROLES)}")
    if ROLES.get(said[-1], ROLES[name]) != ROLES[name]:
        raise BadRow("contradiction", f"'from' is '{name}' and 'role' is '{said[-1]}': who of them speaks?")
    return ROLES[name]


def check_order(turns: list[Turn], keep_empty: bool = False) -> None:
    """Refuses conversations that no prompt format can write or from which nothing is learnt.

    Args:
        turns: Of a conversation.
        keep_empty: Whether empty answers are learnt.

    Raises:
        BadRow: Names what is wrong.
    """
    roles = [turn.role for turn in turns]
    if "assistant" not in roles:
        raise BadRow("no assistant turn", "the conversation has no assistant turn to learn from")
    if not any(turn.role == "assistant" and has_text(turn.value) for turn in turns) and not keep_empty:
        raise BadRow("nothing supervised", "every assistant turn is empty (keep_empty: true keeps such rows)")
    if not any(turn.role == "assistant" and getattr(turn, "learnt", True) for turn in turns):
        raise BadRow("nothing supervised", "every answer is switched off or empty")
    start = next((i for i, role in enumerate(roles) if role != "system"), len(roles))
    if roles[start] != "user" or "system" in roles[start:]:
        raise BadRow("turn order", "the order of the speakers is " + ", ".join(roles[:8]))


def _seconds(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value is None:
        return None
    try:
        if isinstance(value, bool):  # Python takes true for a second
            raise TypeError
        seconds = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRow("wrong number", f"'{key}' is not a number: {str(value)[:40]}") from error
    if not math.isfinite(seconds) or seconds < 0:
        raise BadRow("wrong number", f"'{key}' is {seconds}")
    return seconds
