"""What a conversation weighs in a batch."""

from typing import TYPE_CHECKING, NamedTuple, Protocol

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
    # A placeholder is one position already, as in NeMo's own lengths.
    frames = sum(-int(-duration // frame_seconds) - 1 for duration in durations)
    return Size(len(encoded.input_ids) + frames, int(encoded.loss_mask.sum()), sum(durations))
