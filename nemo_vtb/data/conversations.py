"""From a row of any supported source to a NeMoMultimodalConversation with a kind.

Cut ids are the full path with offset, whatever the file names: NeMo 3.0 uses the bare stem, and two clips of one stem
in a batch then share one audio.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lhotse import Recording
from nemo.collections.common.data.lhotse import NeMoMultimodalConversation
from nemo.collections.common.data.lhotse.text_adapters import AudioTurn, TextTurn

from nemo_vtb.data.prompt_pool import PromptPool
from nemo_vtb.data.rows import BadRow

_ROLES = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}
# A draw: how a row looks in a given epoch.
Draw = Callable[[int], NeMoMultimodalConversation]


class RowParser:
    """Turns rows into draws.

    Args:
        kind: The kind every conversation is tagged with.
        source: The name it is counted under.
        audio_tag: The placeholder of an audio turn.
        frame_seconds: Audio per LLM position, for lengths.
        max_seconds: Longest clip accepted.
        pool: Wordings, for ``asr`` and ``ast`` manifests.
    """

    def __init__(
        self, kind: str, source: str, audio_tag: str, frame_seconds: float, max_seconds: float, pool: PromptPool
    ) -> None:
        self.kind, self.source, self.audio_tag = kind, source, audio_tag
        self.frame_seconds, self.max_seconds, self.pool = frame_seconds, max_seconds, pool

    def conversation(self, row: dict[str, Any], where: str, folder: Path) -> Draw:
        """Parses NeMo's multimodal_conversation row: ``conversations`` of ``from``, ``type`` and ``value``."""
        turns: list[TextTurn | AudioTurn] = []
        for turn in _field(row, "conversations", list):
            role = _role(turn)
            if turn.get("type", "text") == "audio":
                turns.append(self._audio_turn(turn, "value", role, folder))
            else:
                turns.append(TextTurn(value=_field(turn, "value", str), role=role))
        return self._fixed(row, where, turns)

    def share_gpt(self, row: dict[str, Any], where: str, folder: Path) -> Draw:
        """Parses ShareGPT and ms-swift rows: ``conversations`` or ``messages``, clips listed under ``audios``."""
        messages = row.get("messages") or row.get("conversations")
        if not isinstance(messages, list):
            raise BadRow("missing field", "neither 'messages' nor 'conversations' is a list")
        clips = list(row.get("audios") or ([row["sound"]] if "sound" in row else []))
        turns: list[TextTurn | AudioTurn] = []
        if row.get("system"):
            turns.append(TextTurn(value=row["system"], role="system"))
        for message in messages:
            role = _role(message)
            text = message.get("content", message.get("value", message.get("text")))
            if not isinstance(text, str):
                raise BadRow("missing field", "a message has no text under 'content' or 'value'")
            for index, piece in enumerate(text.replace("<sound>", "<audio>").split("<audio>")):
                if index:
                    if not clips:
                        raise BadRow("wrong placeholder count", "more <audio> placeholders than entries in 'audios'")
                    turns.append(self._audio_turn({"value": clips.pop(0)}, "value", role, folder))
                if piece.strip():
                    turns.append(TextTurn(value=piece.strip(), role=role))
        if clips:
            raise BadRow("wrong placeholder count", f"{len(clips)} entries in 'audios' have no <audio> placeholder")
        return self._fixed(row, where, turns)

    def nemo_sft(self, row: dict[str, Any], where: str, folder: Path) -> Draw:
        """Parses NeMo chat SFT rows: ``system``, ``conversations`` of ``from`` and ``value``; text only."""
        turns = [TextTurn(value=_field(t, "value", str), role=_role(t)) for t in _field(row, "conversations", list)]
        if row.get("system"):
            turns.insert(0, TextTurn(value=row["system"], role="system"))
        return self._fixed(row, where, turns)

    def manifest(self, row: dict[str, Any], where: str, folder: Path) -> Draw:
        """Parses a NeMo ASR or AST manifest row; the instruction is drawn anew in each epoch."""
        turn = self._audio_turn(row, "audio_filepath", "user", folder)
        source = row.get("source_lang") or row.get("lang") or "en"
        target = row.get("target_lang") or source
        answer = row.get("answer") or row.get("translation") if self.kind == "ast" else row.get("text")
        if not answer:
            raise BadRow("nothing supervised", f"the row has no {'translation' if self.kind == 'ast' else 'text'}")
        name = str(row.get("id", where))

        def draw(epoch: int) -> NeMoMultimodalConversation:
            wording = self.pool.draw("ast" if self.kind == "ast" else "asr", name, epoch, source, target)
            instruction = TextTurn(value=wording, role="user")
            return self._tagged(name, [instruction, turn, TextTurn(value=answer, role="assistant")], row)

        return draw

    def _fixed(self, row: dict[str, Any], where: str, turns: list[TextTurn | AudioTurn]) -> Draw:
        if not any(turn.role == "assistant" and isinstance(turn, TextTurn) and turn.value for turn in turns):
            raise BadRow("no assistant turn", "the conversation has no assistant turn to learn from")
        conversation = self._tagged(str(row.get("id", where)), turns, row)
        return lambda epoch: conversation

    def _tagged(
        self, name: str, turns: Iterable[TextTurn | AudioTurn], row: dict[str, Any]
    ) -> NeMoMultimodalConversation:
        custom = {**(row.get("custom") or {}), "kind": self.kind, "source": self.source}
        return NeMoMultimodalConversation(
            id=name, turns=list(turns), token_equivalent_duration=self.frame_seconds, custom=custom
        )

    def _audio_turn(self, turn: dict[str, Any], key: str, role: str, folder: Path) -> AudioTurn:
        path = folder / _field(turn, key, str)
        if not path.is_file():
            raise BadRow("missing audio", f"no audio file at {path}")
        try:
            cut = Recording.from_file(path, recording_id=str(path)).to_cut()
        except Exception as error:
            raise BadRow("unreadable audio", f"{path} cannot be read as audio: {error}") from error
        offset, duration = float(turn.get("offset") or 0.0), turn.get("duration")
        if offset or (duration is not None and duration < cut.duration - 0.05):
            cut = cut.truncate(offset=offset, duration=duration)
        if not 0 < cut.duration <= self.max_seconds:
            raise BadRow(
                "clip length", f"{path} is {cut.duration:.2f} s long; clips of 0 to {self.max_seconds} s are used"
            )
        cut = cut.with_id(f"{path}@{offset:.3f}+{cut.duration:.3f}")
        return AudioTurn(cut=cut, role=role, audio_locator_tag=self.audio_tag, text=turn.get("text"))


def _field(row: dict[str, Any], key: str, kind: type) -> Any:
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, kind):
        raise BadRow("missing field", f"'{key}' is missing or not a {kind.__name__}")
    return value


def _role(turn: Any) -> str:
    if not isinstance(turn, dict):
        raise BadRow("missing field", f"a turn must be a JSON object, not {turn!r}")
    name = str(turn.get("from", turn.get("role", ""))).lower()
    if name not in _ROLES:
        raise BadRow("unknown role", f"role '{name}' is none of {', '.join(_ROLES)}")
    return _ROLES[name]
