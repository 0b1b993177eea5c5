"""How long the arms of a study train: until the speech curve of one run is flat, and no text score is looked at.

One arm, one seed, at a constant rate after the warm-up, so that the schedule does not flatten the curve. The curve is
the mean held-out loss of the kinds that are named, every so many steps. The length is the first check after which
``checks`` further ones have not brought it down by ``gain`` of its value.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from nemo_vtb.errors import VTBError
from nemo_vtb.study.plan import LENGTH_FILE, LengthSection, Study, length_section

_SCHEDULER = "nemo.core.optim.lr_scheduler.WarmupPolicy"


def flat_at(curve: Sequence[float], gain: float, checks: int) -> int | None:
    """Place of the first value that the ``checks`` values after it undercut by less than a share; None if none.

    Args:
        curve: Losses, at equal distances.
        gain: Share of the value.
        checks: How many values must follow.
    """
    for place, value in enumerate(curve[: max(0, len(curve) - checks)]):
        if value - min(curve[place + 1 : place + 1 + checks]) < gain * value:
            return place
    return None


def length_overrides(section: LengthSection) -> list[str]:
    """What the run that finds the length changes of its arm's training config."""
    return [
        f"trainer.max_steps={section.most}",
        f"++trainer.val_check_interval={section.every}",
        "++trainer.limit_val_batches=1.0",
        f"seed={section.seed}",
    ]


class SpeechCurve(Callback):
    """Collects the curve and ends training when it is flat.

    Args:
        section: Of the config.
        path: Of the file that shows the curve while it grows.
    """

    def __init__(self, section: LengthSection, path: Path) -> None:
        self._section, self._path = section, path
        self.curve: list[dict[str, float]] = []

    @property
    def flat(self) -> int | None:
        """Place of the check at which it is flat."""
        return flat_at([check["loss"] for check in self.curve], self._section.gain, self._section.checks)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds a check.

        Raises:
            VTBError: If a kind was not measured.
        """
        if trainer.sanity_checking:
            return
        found = {}
        for kind in self._section.kinds:
            name = f"val_loss_{kind}"
            if name not in trainer.callback_metrics:
                raise VTBError(f"length.kinds names {kind}, and the config has no data.validation_ds.kinds.{kind}")
            found[kind] = float(trainer.callback_metrics[name])
        self.curve.append({"step": trainer.global_step, "loss": sum(found.values()) / len(found), **found})
        self._path.write_text("".join(json.dumps(check) + "\n" for check in self.curve), encoding="utf-8")
        trainer.should_stop = trainer.should_stop or self.flat is not None

    def state_dict(self) -> dict[str, Any]:
        """Travels with the checkpoint."""
        return {"curve": self.curve}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on after a resume."""
        self.curve = state_dict["curve"]


def choose_length(study: Study, training: Mapping[str, Any]) -> dict[str, Any]:
    """Trains until the curve is flat and writes ``length.json`` into the study's folder.

    It goes on where it was stopped, unless that was with other settings or data.

    Args:
        study: As read; its section ``length`` says how.
        training: The arm's training config with ``length_overrides``.

    Returns:
        What the file holds: ``steps``, whether the curve is ``flat``, the ``curve``, and the ``rule``.
    """
    from omegaconf import OmegaConf

    from nemo_vtb.study.design.fit import fit, forget
    from nemo_vtb.study.settings import differing, settings_of
    from nemo_vtb.whole_files import write_text

    section = length_section(study.length)
    folder = study.out / "length"
    folder.mkdir(parents=True, exist_ok=True)
    speech = SpeechCurve(section, folder / "curve.jsonl")
    before = training["model"].get("lr_scheduler") or {}
    constant = {"_target_": _SCHEDULER, "warmup_steps": before.get("warmup_steps", 0), "max_steps": section.most}
    cfg = OmegaConf.create(
        {**training, "model": {**training["model"], "lr_scheduler": constant}, "threads": study.threads}
    )
    settings, made_with = settings_of(cfg, {}), folder / "settings.json"
    if made_with.exists() and (how := differing(made_with, settings)):
        print(f"the run that finds the length was made {how.rpartition(': ')[0]}: it starts anew", flush=True)
        forget(folder)
    write_text(made_with, json.dumps(settings, indent=1, ensure_ascii=False) + "\n")
    fit(cfg, [speech], folder, section.every)
    place = speech.flat
    steps = speech.curve[-1]["step"] if place is None else speech.curve[place]["step"]
    rule = (
        f"first check of arm {section.arm}, seed {section.seed}, that {section.checks} more undercut by less than "
        f"{100 * section.gain:g} % of the mean held-out loss of {', '.join(section.kinds)}"
    )
    made = {"steps": int(steps), "flat": place is not None, "rule": rule, "curve": speech.curve}
    write_text(study.out / LENGTH_FILE, json.dumps(made, indent=1) + "\n")
    return made
