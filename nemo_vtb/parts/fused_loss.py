"""Fused losses of other packages: the head's product and the cross-entropy in one kernel, without any logits."""

from importlib.util import find_spec

import torch
from torch import Tensor

from nemo_vtb.errors import VTBError

_PACKAGES = {"cut_cross_entropy": "cut-cross-entropy", "liger": "liger-kernel"}
_MODULES = {"cut_cross_entropy": "cut_cross_entropy", "liger": "liger_kernel"}


def check_backend(backend: str) -> None:
    """Refuses a loss backend whose package is absent.

    Raises:
        VTBError: Names the config key and the package.
    """
    if backend in _PACKAGES and find_spec(_MODULES[backend]) is None:
        raise VTBError(
            f"model.loss_backend={backend} needs the package {_PACKAGES[backend]}: pip install {_PACKAGES[backend]}, "
            "or set model.loss_backend=chunked"
        )


def fused_losses(backend: str, hidden: Tensor, weight: Tensor, targets: Tensor, softcap: float | None) -> Tensor:
    """Computes the loss of each target; both packages need Triton and a GPU (cut-cross-entropy has a way without).

    Args:
        backend: ``cut_cross_entropy`` or ``liger``.
        hidden: ``(S, H)``, S > 0.
        weight: The head, ``(vocabulary, H)``; taken in the dtype of ``hidden``, which is autocast's where that is on.
        targets: ``(S,)`` token ids.
        softcap: Bound of the logits (Gemma 2), or None.

    Returns:
        Float32 losses ``(S,)``.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    weight = weight.to(hidden.dtype)
    if backend == "liger":
        from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

        losses = liger_fused_linear_cross_entropy(hidden, weight, targets, softcap=softcap, reduction="none")
        return losses.float()
    from cut_cross_entropy import linear_cross_entropy

    # Its own threshold drops small gradients of bfloat16 kernels; None keeps them all.
    options = {"filter_eps": None} if hidden.is_cuda else {"impl": "torch_compile"}
    return linear_cross_entropy(hidden, weight, targets, softcap=softcap, reduction="none", **options).float()
