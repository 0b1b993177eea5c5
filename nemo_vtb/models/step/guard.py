"""Stops a run before a non-finite loss or gradient reaches the weights, and says which samples brought it."""

from dataclasses import dataclass

import numpy as np
import torch
from nemo.utils import logging
from torch import Tensor, nn

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.ranks import all_ranks_list, own_part, true_on_all_ranks

_NAMES_SHOWN = 8


@dataclass
class ForwardPass:
    """One forward pass of an optimizer step, as much of it as blame needs.

    Attributes:
        loss: What is differentiated.
        losses: ``(S,)`` of the supervised positions.
        owners: ``(S,)`` conversation of each, on the host.
        audios: ``(clips, samples)``, or empty.
        clip_owners: ``(clips,)`` conversation of each, on the host.
        names: Sample id of each conversation.
    """

    loss: Tensor
    losses: Tensor
    owners: np.ndarray
    audios: Tensor
    clip_owners: np.ndarray
    names: list[str]

    def blamed(self) -> list[str]:
        """The conversations a bad value comes from: those with bad audio, else those with bad losses.

        One bad clip spoils the losses of its whole row, and through batch statistics those of all clips.
        """
        if len(self.clip_owners):
            bad_clips = (~self.audios.isfinite()).any(1).cpu().numpy()
            if bad_clips.any():
                return [self.names[i] for i in np.unique(self.clip_owners[bad_clips])]
        return [self.names[i] for i in np.unique(self.owners[(~self.losses.isfinite()).cpu().numpy()])]


class StepGuard:
    """Looks at the losses and gradients of an optimizer step on all ranks.

    Args:
        allowed: Steps that may be left out before training stops.
    """

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.skipped = 0
        self._seen: list[ForwardPass] = []
        self._statistics: list[tuple[Tensor, Tensor]] = []

    def begin(self, module: nn.Module) -> None:
        """Remembers batch statistics, which a bad batch spoils in the forward pass, where a step may be left out."""
        if self.allowed and not self._seen:
            norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
            buffers = [buffer for norm in norms for buffer in norm.buffers()]
            self._statistics = [(buffer, buffer.clone()) for buffer in buffers]

    def saw(self, forward_pass: ForwardPass) -> None:
        """Notes a forward pass of the step."""
        self._seen.append(forward_pass)

    @torch.no_grad()
    def check(self, parameters: list[nn.Parameter], scaled: bool = False) -> None:
        """Called before the optimizer step: leaves a bad one out, or stops.

        Args:
            parameters: Those that are trained.
            scaled: Whether a gradient scaler, which tries out how far it can go, leaves steps out by itself.

        Raises:
            VTBError: On every rank, once more than ``allowed`` steps were bad; names the samples of all ranks.
        """
        seen, self._seen = self._seen, []
        gradients = [own_part(p.grad) for p in parameters if p.grad is not None]
        values = [p.loss.detach().float() for p in seen]
        if not scaled:
            values += [norm.float() for norm in torch._foreach_norm(gradients)]
        if not values or true_on_all_ranks(torch.stack(values).isfinite().all()):
            return
        self.skipped += 1
        message = _describe(seen)
        if self.skipped > self.allowed:
            raise VTBError(
                f"{message}. Look at these samples with `vtb data lint` and `vtb preview`, lower the learning rate, or "
                f"set model.skip_non_finite to leave such steps out (it allows {self.allowed})"
            )
        logging.warning(f"nemo_vtb: {message}; step left out, {self.skipped} of {self.allowed} allowed")
        for parameter in parameters:
            parameter.grad = None
        for buffer, before in self._statistics:
            buffer.copy_(before)


def _describe(seen: list[ForwardPass]) -> str:
    what = "the loss is not finite in"
    names = all_ranks_list([name for forward_pass in seen for name in forward_pass.blamed()])
    if not names:
        what = "a gradient is not finite though every loss is, in a step over"
        names = all_ranks_list([name for forward_pass in seen for name in forward_pass.names])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"{what} {', '.join(names[:_NAMES_SHOWN])}{more}"
