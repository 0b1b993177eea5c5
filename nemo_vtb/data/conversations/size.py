"""What a conversation weighs in a batch."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from nemo_vtb.data.row_forms.plain import PlainRow

if TYPE_CHECKING:
    from nemo.collections.common.data.lhotse import NeMoMultimodalConversation

    from nemo_vtb.parts.prompts.turn_mask import EncodedConversation


class Size(NamedTuple):
    """Lengths of one conversation.

    Attributes:
        total: LLM positions, audio frames included.
        supervised: Positions that are training targets.
        audio_seconds: Audio in all turns.
    """

    total: int
    supervised: int
    audio_seconds: float = 0.0


class Encoder(Protocol):
    """What turns conversations into tokens; ``VTBDataset`` is one."""

    def encode(self, conversation: "NeMoMultimodalConversation") -> "EncodedConversation":
        """Token ids and loss mask."""

    def encoding_key(self) -> str:
        """Names the tokenizer and the prompt format: equal keys, equal lengths."""


class Weigher:
    """Weighs conversations as they are in the first epoch.

    Args:
        encoder: Gives token ids, one placeholder per clip.
        frame_seconds: Audio per LLM position.
    """

    def __init__(self, encoder: Encoder, frame_seconds: float) -> None:
        self._encoder, self._frame_seconds = encoder, frame_seconds

    def __call__(self, conversation: "NeMoMultimodalConversation") -> Size:
        """See ``measure``."""
        return measure(conversation, self._encoder, self._frame_seconds)

    def plain(self, row: PlainRow) -> Size | None:
        """Weighs a plain row as the conversation that it would become; None where that must be made to know."""
        lengths = getattr(self._encoder, "lengths", None)
        if lengths is None or (found := lengths(row.turns, row.tag)) is None:
            return None
        total, supervised = found
        if row.seconds is None:
            return Size(total, supervised)
        return Size(total + _frames(row.seconds, self._frame_seconds), supervised, row.seconds)


def measure(conversation: "NeMoMultimodalConversation", encoder: Encoder, frame_seconds: float) -> Size:
    """Weighs a conversation.

    Args:
        conversation: Any conversation the encoder takes.
        encoder: Gives token ids, one placeholder per clip.
        frame_seconds: Audio per LLM position.
    """
    return size_of(encoder.encode(conversation), conversation, frame_seconds)


def size_of(encoded: "EncodedConversation", conversation: "NeMoMultimodalConversation", frame_seconds: float) -> Size:
    """Weighs a conversation that is encoded already; see ``measure``."""
    durations = [cut.duration for cut in conversation.list_cuts()]
    frames = sum(_frames(duration, frame_seconds) for duration in durations)
    return Size(len(encoded.input_ids) + frames, int(encoded.loss_mask.sum()), sum(durations))


def _frames(seconds: float, frame_seconds: float) -> int:
    # A placeholder is one position already, as in NeMo's own lengths.
    return -int(-seconds // frame_seconds) - 1
