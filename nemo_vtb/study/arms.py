"""The arms of a study: what differs from one to the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from nemo_vtb.config import ConfigDirs, check_keys, compose, section_of
from nemo_vtb.errors import VTBError
from nemo_vtb.models.options import TEXT_LORA
from nemo_vtb.options import typed

ASKED_WITH = ("lora_scale", "text_lora")


@dataclass(frozen=True)
class Arm:
    """What is compared.

    Attributes:
        title: In words.
        text_share: Of training, 0 to below 1; None leaves the blend as it is.
        overrides: Of the training config.
        seeds: One run each.
        weights_of: Name of the arm whose weights are measured; then ``text_share`` and ``overrides`` are that arm's.
        asked_with: What is changed before the arm is measured: ``lora_scale`` and ``text_lora``.
    """

    title: str = ""
    text_share: float | None = None
    overrides: Sequence[str] = ()
    seeds: Sequence[int] = (0,)
    weights_of: str | None = None
    asked_with: Mapping[str, Any] = field(default_factory=dict)


def read_arms(sections: Mapping[str, Any], keep_checkpoints: bool) -> dict[str, Arm]:
    """Reads the section ``arms``.

    Args:
        sections: By name.
        keep_checkpoints: Whether an arm's weights are there for another one to measure.

    Raises:
        VTBError: Names the key that is unknown or odd.
    """
    arms = {name: _arm(section, f"arms.{name}") for name, section in sections.items()}
    return arms | {name: _with_weights(arms, name, keep_checkpoints) for name in arms if arms[name].weights_of}


def share_overrides(train: str, overrides: Sequence[str], arm: Arm, name: str, config_dir: ConfigDirs) -> list[str]:
    """Overrides of a training config that give text its share, while the other kinds keep their proportions.

    Raises:
        VTBError: If the config has no text to give a share to.
    """
    if arm.text_share is None:
        return []
    try:
        blend = section_of(compose(train, [*overrides], config_dir), "data.train_ds").get("blend")
    except VTBError as error:
        raise VTBError(f"train={train} with common and arms.{name}.overrides: {error}") from error
    kinds = blend.get("kinds") if blend is not None else None
    if kinds is None or "text" not in kinds:
        raise VTBError(f"arms.{name}.text_share: the config '{train}' has no data.train_ds.blend.kinds.text to change")
    if arm.text_share == 0:
        return ["~data.train_ds.blend.kinds.text"]
    shares = {kind: section.get("share") for kind, section in kinds.items() if kind != "text"}
    if moving := [kind for kind, share in shares.items() if not isinstance(share, int | float)]:
        raise VTBError(
            f"arms.{name}.text_share: the share of '{moving[0]}' in the config '{train}' moves; give a number"
        )
    others = float(sum(shares.values()))
    share = others * arm.text_share / (1 - arm.text_share)
    return [f"data.train_ds.blend.kinds.text.share={share:.8g}"]


def _arm(section: Any, where: str) -> Arm:
    if not isinstance(section, Mapping):
        raise VTBError(f"{where} is {section!r}; it is a section with title, text_share, overrides and seeds")
    check_keys(section, [one.name for one in fields(Arm)], where)
    share, seeds = section.get("text_share"), section.get("seeds", [0])
    if share is not None and (isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1):
        raise VTBError(f"{where}.text_share is {share!r}; it is a share of at least 0 and below 1")
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise VTBError(f"{where}.seeds is {seeds!r}; it is a list of whole numbers, e.g. [0, 1, 2]")
    if len(set(seeds)) < len(seeds):
        raise VTBError(f"{where}.seeds names a seed twice")
    typed(f"{where}.title", section.get("title"), str | None)
    overrides = typed(f"{where}.overrides", section.get("overrides") or [], list[str])
    asked_with = section.get("asked_with") or {}
    check_keys(asked_with, ASKED_WITH, f"{where}.asked_with")
    scale, text_lora = asked_with.get("lora_scale", 1), asked_with.get("text_lora", "always")
    if isinstance(scale, bool) or not isinstance(scale, int | float) or scale < 0:
        raise VTBError(f"{where}.asked_with.lora_scale is {scale!r}; it is 0 for the untouched LLM, 1 as trained")
    if text_lora not in TEXT_LORA:
        raise VTBError(f"{where}.asked_with.text_lora is {text_lora!r}; it may be {', '.join(TEXT_LORA)}")
    title = str(section.get("title", where.rpartition(".")[2]))
    return Arm(title, share, overrides, seeds, section.get("weights_of"), asked_with)


def _with_weights(arms: Mapping[str, Arm], name: str, keep_checkpoints: bool) -> Arm:
    """The arm that is measured with the weights of another, trained as that one is."""
    arm, where = arms[name], f"arms.{name}.weights_of"
    source = arms.get(str(arm.weights_of))
    if source is None or source.weights_of:
        raise VTBError(f"{where} is {arm.weights_of!r}; it is an arm that is trained")
    if arm.overrides or arm.text_share is not None:
        raise VTBError(f"{where}: nothing is trained here, so text_share and overrides have no effect; remove them")
    if missing := sorted(set(arm.seeds) - set(source.seeds)):
        raise VTBError(f"{where}: the arm {arm.weights_of!r} has no seed {missing[0]}")
    if not keep_checkpoints:
        raise VTBError(f"{where} needs the checkpoints of {arm.weights_of!r}: set keep_checkpoints=true")
    return replace(arm, overrides=source.overrides, text_share=source.text_share)
