"""What must be the same for a run to go on from a checkpoint, and what it was trained with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM

_ANEW = "to begin a new run from its weights, set model.init_from to its path"


def settings_in(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The sections ``optimizer``, ``lr_scale`` and ``lr_scheduler`` a checkpoint was trained with."""
    if "settings" in checkpoint.get("vtb", {}):
        return checkpoint["vtb"]["settings"]
    section = _section(checkpoint)
    names = ("optimizer", "lr_scale", "lr_scheduler")
    settings = {name: section.get(name) for name in names}
    return {**settings, "lr_scale": settings["lr_scale"] or {}}


def check_optimizer(model: "SALM", checkpoint: Mapping[str, Any]) -> None:
    """Refuses states of another optimizer; other settings of the same one are used (``callbacks.new_settings``).

    Raises:
        VTBError: Names the key, both values and the remedy; or the remedy where a run is to go on and there are none.
    """
    if "optimizer_states" not in checkpoint:
        if model._trainer is not None and model.trainer.state.fn == "fit":
            raise VTBError(
                "the checkpoint holds trained weights alone (save_weights_only, or the end of a run that kept no "
                f"checkpoints), from which no run can go on: {_ANEW}, in another folder"
            )
        return
    before = settings_in(checkpoint)
    was, now = (before["optimizer"] or {}).get("_target_"), model.cfg.optimizer.get("_target_")
    if was is not None and was != now:
        raise VTBError(
            f"model.optimizer._target_ is {now}, the checkpoint has states of {was}: go on with {was}; {_ANEW}"
        )
    patterns = list(model.cfg.get("lr_scale") or {})
    if was is not None and list(before["lr_scale"]) != patterns:
        raise VTBError(
            f"model.lr_scale groups parameters by {patterns or 'nothing'}, the checkpoint by "
            f"{list(before['lr_scale']) or 'nothing'}: go on with its patterns, whose values may change; {_ANEW}"
        )


def _section(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    return checkpoint.get("hyper_parameters", {}).get("cfg") or {}
