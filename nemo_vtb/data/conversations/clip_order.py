"""Whether a clip stands before or behind the words that belong to it, drawn for each sample and epoch."""

from typing import Any

from lhotse.utils import fastcopy

from nemo_vtb.data.conversations.chat_rows import Draw
from nemo_vtb.data.conversations.prompt_pool import stable_hash

_PARTS = 1_000_000


class OrderedParse:
    """Parses rows and draws the order of clip and instruction (AlignFormer, arXiv 2412.01145, found it decisive).

    Only an opening turn with one clip and written words has an order to draw; everything else stays as it is.

    Args:
        parse: Makes conversations of rows.
        audio_first: Share of the samples whose clip comes first: 0 never, 1 always.
    """

    def __init__(self, parse: Any, audio_first: float) -> None:
        self._parse, self._audio_first = parse, audio_first

    def __call__(self, row: dict[str, Any], where: str) -> Draw | None:
        """See ``ParseRow``."""
        draw = self._parse(row, where)
        return None if draw is None else lambda epoch: self._ordered(draw(epoch), epoch)

    def _ordered(self, conversation: Any, epoch: int) -> Any:
        turns = list(conversation.turns)
        begin = next((place for place, turn in enumerate(turns) if turn.role == "user"), len(turns))
        end = next((place for place in range(begin, len(turns)) if turns[place].role != "user"), len(turns))
        clips = [turn for turn in turns[begin:end] if hasattr(turn, "cut")]
        words = [turn for turn in turns[begin:end] if not hasattr(turn, "cut")]
        if len(clips) != 1 or not words:
            return conversation
        drawn = stable_hash("order", conversation.id, epoch) % _PARTS
        opening = [*clips, *words] if drawn < self._audio_first * _PARTS else [*words, *clips]
        return fastcopy(conversation, turns=[*turns[:begin], *opening, *turns[end:]])
