"""Holding text conversations to the untouched LLM: its own distribution is the target.

LoRA switched off is the teacher, so no second copy of the LLM is loaded. Every position of a text conversation counts,
the prompt's included: what the LLM would have said there is known everywhere, not only at supervised positions.
"""

from collections.abc import Callable

import numpy as np
from torch import Tensor

from nemo_vtb.parts.loss import in_chunks
from nemo_vtb.parts.pack import PackedLayout


def text_positions(layout: PackedLayout) -> np.ndarray:
    """Flat positions ``(P,)`` of the conversations without audio, conversation after conversation."""
    return _positions(layout, ~layout.has_audio)


def speech_gate(layout: PackedLayout) -> np.ndarray:
    """``(R, L, 1)`` float32: 1 at the positions of conversations with audio, 0 elsewhere."""
    gate: np.ndarray = np.zeros(layout.rows * layout.row_length, dtype=np.float32)
    gate[_positions(layout, layout.has_audio)] = 1.0
    return gate.reshape(layout.rows, layout.row_length, 1)


def divergences(
    tuned: Tensor,
    base: Tensor,
    project: Callable[[Tensor], Tensor],
    chunk: int = 1024,
    head_trains: bool = True,
    project_base: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """KL(base || tuned) of the next-token distributions, in nats.

    Args:
        tuned: ``(P, H)`` hidden states of the LLM with LoRA.
        base: ``(P, H)`` hidden states of the LLM without, no gradient.
        project: The LLM's head.
        chunk: Positions projected at a time.
        head_trains: Whether a gradient flows into the head itself.
        project_base: The untouched head, where LoRA adapts the head too.

    Returns:
        ``(P,)`` float32.
    """
    project_base = project_base or project

    def one_chunk(tuned_part: Tensor, base_part: Tensor) -> tuple[Tensor]:
        target = project_base(base_part).float().log_softmax(-1).detach()
        return ((target.exp() * (target - project(tuned_part).float().log_softmax(-1))).sum(-1),)

    if not len(tuned):
        return tuned.float().sum(-1)
    return in_chunks(one_chunk, tuned, base, chunk=chunk, head_trains=head_trains)[0]


def _positions(layout: PackedLayout, chosen: np.ndarray) -> np.ndarray:
    spans = zip(layout.starts[chosen], layout.lengths[chosen], strict=True)
    return np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(start, start + length) for start, length in spans)])
