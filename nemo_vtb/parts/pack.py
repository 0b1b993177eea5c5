"""Conversations laid end to end in rows, without padding between them.

Everything is decided on the host from lengths, then applied with three index operations; no example is looped over on
the device. Positions restart at 0 with each conversation, from which Hugging Face models build the block-causal mask
when no attention mask is given.

Shape letters: N token ids of all conversations, F audio frames of all clips, R rows, L row length, H hidden size,
S supervised positions.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.prompts.turn_mask import EncodedConversation

# A row so long that attention takes as long as all else: SmolLM2-135M in float32 on a CPU. What matters is the order.
_ATTENTION = 2000
# So many times the fewest rows are tried, in so many steps.
_MORE_ROWS, _TRIES = 3, 16
# What an LLM with nothing to learn runs instead: ranks that exchange gradients, or weights, all take part.
STUB = EncodedConversation(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=bool))
_NOTHING = EncodedConversation(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool))


@dataclass(frozen=True)
class PackedLayout:
    """Where each token and frame goes. All arrays are int64 on the host.

    Attributes:
        rows: R.
        row_length: L.
        token_ids: ``(N',)`` ids that are text (placeholders removed).
        token_to: ``(N',)`` flat positions in R*L of those ids.
        frame_from: ``(F',)`` which of the F frames are laid out; all of them unless conversations were left out.
        frame_to: ``(F',)`` flat positions of those frames, clip after clip.
        position_ids: ``(R, L)``, restarting with each conversation; 0 in padding between them and the row's end.
        predict_from: ``(S,)`` flat positions whose hidden state predicts a target.
        targets: ``(S,)`` token ids.
        target_owner: ``(S,)`` index of the conversation a target belongs to.
        lengths: ``(conversations,)`` positions per conversation, frames included; 0 where it was left out.
        starts: ``(conversations,)`` flat position at which each conversation starts.
        has_audio: bool ``(conversations,)``, whether laid out or not.
        clip_owner: ``(clips,)`` index of the conversation a clip belongs to.
        order: Conversations as they lie in the rows, first row first; without those left out.
    """

    rows: int
    row_length: int
    token_ids: np.ndarray
    token_to: np.ndarray
    frame_from: np.ndarray
    frame_to: np.ndarray
    position_ids: np.ndarray
    predict_from: np.ndarray
    targets: np.ndarray
    target_owner: np.ndarray
    lengths: np.ndarray
    starts: np.ndarray
    has_audio: np.ndarray
    clip_owner: np.ndarray
    order: np.ndarray

    @property
    def used(self) -> np.ndarray:
        """int64 ``(R, L)``: 1 where a position holds a token or a frame."""
        used: np.ndarray = np.zeros(self.rows * self.row_length, dtype=np.int64)
        used[self.token_to] = used[self.frame_to] = 1
        return used.reshape(self.rows, self.row_length)

    @property
    def conversations_per_row(self) -> float:
        """How many conversations share a row, in the mean."""
        return len(self.order) / self.rows

    def ids(self, pad: int) -> np.ndarray:
        """int64 ``(R, L)``: the token id at each position, ``pad`` where there is none."""
        ids: np.ndarray = np.full(self.rows * self.row_length, pad, dtype=np.int64)
        ids[self.token_to] = self.token_ids
        return ids.reshape(self.rows, self.row_length)

    @property
    def padding_share(self) -> float:
        """Share of R*L that holds neither a token nor a frame."""
        return 1.0 - float(self.lengths.sum()) / (self.rows * self.row_length)


def plan_packing(
    conversations: Sequence[EncodedConversation],
    frame_counts: Sequence[int],
    placeholder_id: int,
    row_tokens: int = 0,
    names: Sequence[str] | None = None,
    supervised_only: bool = False,
    apart: bool = False,
) -> PackedLayout:
    """Lays conversations out.

    Args:
        conversations: Encoded conversations of one batch.
        frame_counts: Frames per clip, in the order of the placeholders.
        placeholder_id: The id each clip replaces.
        row_tokens: Aim for rows of at most about this many positions, so that attention, whose cost grows with the
            square of a row, does not dominate; shorter ones are taken where that costs less, and none is shorter than
            the longest conversation. 0 makes one row.
        names: Sample ids for the error message.
        supervised_only: Leave out conversations that hold no target; where none holds any, one token stands for all.
        apart: One conversation a row, for LLMs that would hear its neighbours; positions run on through the padding
            behind it, which it cannot hear.

    Raises:
        VTBError: If placeholders and clips do not match.
    """
    per_conversation, clip_of = [], 0
    clips_of: list[int] = []
    laid_out = [not supervised_only or bool(conversation.loss_mask.any()) for conversation in conversations]
    stub = -1 if any(laid_out) else 0
    frame_from: list[np.ndarray] = []
    frames_before = np.concatenate([[0], np.cumsum(np.asarray(frame_counts, dtype=np.int64))])
    for index, conversation in enumerate(conversations):
        is_clip = conversation.input_ids == placeholder_id
        wanted = int(is_clip.sum())
        if clip_of + wanted > len(frame_counts):
            name = names[index] if names is not None else f"number {index}"
            raise VTBError(
                f"conversation {name} has {wanted} audio placeholders but only {len(frame_counts) - clip_of} clips are "
                "left in the batch; check its audio turns with `vtb data lint`"
            )
        spans: np.ndarray = np.ones(len(is_clip), dtype=np.int64)
        spans[is_clip] = frame_counts[clip_of : clip_of + wanted]
        if laid_out[index]:
            frame_from.append(np.arange(frames_before[clip_of], frames_before[clip_of + wanted]))
        else:
            conversation = STUB if index == stub else _NOTHING
            is_clip, spans = conversation.loss_mask, np.ones(len(conversation.input_ids), dtype=np.int64)
        clip_of += wanted
        clips_of.append(wanted)
        per_conversation.append((conversation, is_clip, spans))
    if clip_of != len(frame_counts):
        raise VTBError(f"the batch has {len(frame_counts)} clips but {clip_of} audio placeholders")

    lengths = np.array([int(spans.sum()) for _, _, spans in per_conversation], dtype=np.int64)
    offsets, rows, row_length = _one_a_row(lengths) if apart else _assign_rows(lengths, row_tokens)
    token_ids, token_to, frame_to, predict_from, targets = [], [], [], [], []
    owners: list[np.ndarray] = []
    position_ids: np.ndarray = np.zeros(rows * row_length, dtype=np.int64)
    for index, (conversation, is_clip, spans) in enumerate(per_conversation):
        starts = offsets[index] + np.cumsum(spans) - spans
        position_ids[offsets[index] : offsets[index] + lengths[index]] = np.arange(lengths[index])
        token_ids.append(conversation.input_ids[~is_clip])
        token_to.append(starts[~is_clip])
        frame_to += [
            np.arange(start, start + span) for start, span in zip(starts[is_clip], spans[is_clip], strict=True)
        ]
        supervised = conversation.loss_mask & ~is_clip
        supervised[:1] = False
        predict_from.append(starts[supervised] - 1)
        targets.append(conversation.input_ids[supervised])
        owners.append(np.full(int(supervised.sum()), index, dtype=np.int64))
    if apart:
        position_ids = np.tile(np.arange(row_length), rows)
    laid_order = np.argsort(offsets, kind="stable")
    return PackedLayout(
        rows=rows,
        row_length=row_length,
        token_ids=np.concatenate(token_ids),
        token_to=np.concatenate(token_to),
        frame_from=np.concatenate(frame_from) if frame_from else np.zeros(0, dtype=np.int64),
        frame_to=np.concatenate(frame_to) if frame_to else np.zeros(0, dtype=np.int64),
        position_ids=position_ids.reshape(rows, row_length),
        predict_from=np.concatenate(predict_from),
        targets=np.concatenate(targets),
        target_owner=np.concatenate(owners),
        lengths=lengths,
        starts=offsets,
        has_audio=np.array(clips_of, dtype=bool),
        clip_owner=np.repeat(np.arange(len(lengths)), clips_of),
        order=laid_order[lengths[laid_order] > 0],
    )


def fill_rows(layout: PackedLayout, token_embeds: Tensor, frames: Tensor | None) -> Tensor:
    """Writes embeddings and audio frames into rows.

    Args:
        layout: The plan.
        token_embeds: ``(N', H)`` embeddings of ``layout.token_ids``.
        frames: ``(F, H)`` adapted frames of all clips; None, or F = 0, where the batch has none.

    Returns:
        ``(R, L, H)`` in the dtype of ``token_embeds``; zero in padding.
    """
    flat = token_embeds.new_zeros(layout.rows * layout.row_length, token_embeds.shape[-1])
    flat = flat.index_copy(0, _on(layout.token_to, flat), token_embeds)
    if frames is not None:
        if len(layout.frame_from) < len(frames):
            frames = frames.index_select(0, _on(layout.frame_from, frames))
        flat = flat.index_copy(0, _on(layout.frame_to, flat), frames.to(flat.dtype))
    return flat.view(layout.rows, layout.row_length, -1)


def _on(index: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(index).to(like.device, non_blocking=True)


def _one_a_row(lengths: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Each conversation that has a length in a row of its own."""
    used, row_length = lengths > 0, int(lengths.max())
    return (np.cumsum(used) - used) * row_length, max(1, int(used.sum())), row_length


def _assign_rows(lengths: np.ndarray, row_tokens: int) -> tuple[np.ndarray, int, int]:
    """Flat offsets, number of rows and row length, where padding and attention together cost least."""
    total, longest = int(lengths.sum()), int(lengths.max())
    if row_tokens <= 0:
        return np.cumsum(lengths) - lengths, 1, total
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    fewest = max(1, -(-total // max(row_tokens, longest)))
    most = max(fewest, min(total // max(1, longest), _MORE_ROWS * fewest))
    tried = (_fill(lengths, order, rows) for rows in range(fewest, most + 1, max(1, (most - fewest) // _TRIES)))
    place, rows, row_length = min(tried, key=lambda one: one[1] * one[2] * (1 + one[2] / _ATTENTION))
    return np.array([row * row_length + start for row, start in place], dtype=np.int64), rows, row_length


def _fill(lengths: np.ndarray, order: Sequence[int], rows: int) -> tuple[list[tuple[int, int]], int, int]:
    """Longest first into the emptiest row: row and start of each, number of rows, row length."""
    ends = [(0, row) for row in range(rows)]
    place = [(0, 0)] * len(lengths)
    for index in order:
        end, row = heapq.heappop(ends)
        place[index] = (row, end)
        heapq.heappush(ends, (end + int(lengths[index]), row))
    return place, rows, max(end for end, _ in ends)
