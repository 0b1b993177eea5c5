"""Gradient accumulation in which a supervised token weighs the same in whichever micro-batch it stands."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from nemo_vtb.parts.ranks import own_part


class TokenWeighted:
    """Turns the mean over micro-batches into a mean over the supervised tokens of the whole window.

    The number of tokens in a window is known only at its end. Each micro-batch is therefore weighted by its tokens over
    those of the first one, and the gradients are scaled once, before they are clipped. Other terms of a loss, such as
    the alignment, are thereby averaged by tokens too.
    """

    def __init__(self) -> None:
        self._first: Tensor | None = None
        self._sum: Tensor | None = None

    def weigh(self, loss: Tensor, tokens: Tensor, micro_batches: int) -> Tensor:
        """Weights a micro-batch.

        Args:
            loss: Mean over the micro-batch, over all ranks.
            tokens: Supervised tokens in it, over all ranks.
            micro_batches: By what the trainer will divide the loss.
        """
        if micro_batches == 1:
            return loss
        if self._first is None or self._sum is None:
            self._first, self._sum = tokens.clamp(min=1), tokens
        else:
            self._sum = self._sum + tokens
        return loss * (micro_batches * tokens / self._first)

    @torch.no_grad()
    def finish(self, parameters: Iterable[nn.Parameter]) -> None:
        """Scales the gradients of a window that is complete, and starts the next."""
        if self._first is not None and self._sum is not None:
            scale = self._first / self._sum.clamp(min=1)
            for parameter in parameters:
                if parameter.grad is not None:
                    own_part(parameter.grad).mul_(scale)
        self._first = self._sum = None
