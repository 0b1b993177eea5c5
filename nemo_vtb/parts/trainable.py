"""What is trained and how fast: freezing and parameter groups by name patterns."""

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from torch import nn

from nemo_vtb.errors import VTBError


def freeze_parameters(
    module: nn.Module, freeze: Sequence[str], keep: Sequence[str], names: Container[str] = ()
) -> list[str]:
    """Freezes parameters whose full name matches a ``freeze`` pattern and no ``keep`` pattern nor is in ``names``.

    The keys are SALM's ``freeze_params`` and ``prevent_freeze_params`` (NeMo optim_setup.freeze_and_subset), which
    freezes only when the optimizer is built: after DistributedDataParallel has wrapped the frozen weights.

    Returns:
        The names of the parameters that stay trainable.

    Raises:
        VTBError: If a pattern matches nothing, or everything is frozen.
    """
    freeze_res, keep_res = [re.compile(p) for p in freeze], [re.compile(p) for p in keep]
    # NeMo's own configs freeze the preprocessor, which has buffers and no parameters: that is not a misspelt pattern.
    buffers = [name for name, _ in module.named_buffers()]
    unmatched = {pattern.pattern for pattern in freeze_res if not any(map(pattern.match, buffers))}
    trainable, parameters = [], [name for name, _ in module.named_parameters()]
    if idle := [pattern.pattern for pattern in keep_res if not any(map(pattern.match, [*parameters, *buffers]))]:
        raise VTBError(f"model.prevent_freeze_params matches no parameter: {', '.join(idle)}")
    for name, parameter in module.named_parameters():
        hits = [pattern for pattern in freeze_res if pattern.match(name)]
        unmatched -= {pattern.pattern for pattern in hits}
        if hits and name not in names and not any(pattern.match(name) for pattern in keep_res):
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            trainable.append(name)
    if unmatched:
        raise VTBError(f"model.freeze_params matches no parameter: {', '.join(sorted(unmatched))}")
    if not trainable:
        raise VTBError("every parameter is frozen; see model.freeze_params and model.prevent_freeze_params")
    return trainable


def rest_frozen(module: nn.Module) -> None:
    """Puts what is frozen in evaluation mode: a module as a whole, else its batch norms whose weights are frozen.

    A batch norm in training mode learns from the batch and looks at all of it, whether its weights train or not.
    """
    if not any(parameter.requires_grad for parameter in module.parameters()):
        module.eval()
        return
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.affine and not part.weight.requires_grad:
            part.eval()


def parameter_groups(module: nn.Module, lr: float, lr_scale: Mapping[str, float]) -> list[dict[str, Any]]:
    """Groups trainable parameters; the first pattern that matches a full name scales its learning rate.

    Raises:
        VTBError: If a pattern matches no trainable parameter.
    """
    grouped: dict[str | None, list[nn.Parameter]] = {pattern: [] for pattern in lr_scale}
    grouped[None] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            pattern = next((p for p in lr_scale if re.match(p, name)), None)
            grouped[pattern].append(parameter)
    if empty := [pattern for pattern in lr_scale if not grouped[pattern]]:
        raise VTBError(f"model.lr_scale matches no trainable parameter: {', '.join(empty)}")
    return [
        {"params": parameters, "lr": lr * lr_scale[pattern] if pattern is not None else lr}
        for pattern, parameters in grouped.items()
        if parameters
    ]
