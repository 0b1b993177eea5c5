"""What decides the outcome of a run: its training config, what it is asked, and the hashes of the files these name."""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nemo_vtb.config import flattened
from nemo_vtb.data.files.locations import locate
from nemo_vtb.errors import VTBError
from nemo_vtb.models.for_machine import device_type, precision_here, settings_here
from nemo_vtb.parts.machine.choice import AUTO
from nemo_vtb.study.arms import ASKED_WITH

# Keys that decide where things are kept and how answers are compared, not what is learnt and answered.
_OF_NO_EFFECT = (
    "training.model.encoder_cache",
    "training.model.attn_implementation",
    "measure.eval.bootstrap",
    "measure.seed",
    "measure.apart",
    "measure.way",
)
# A name that is longer is a text.
_LONGEST_NAME = 1024


def settings_of(training: DictConfig, measure: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, as plain JSON: ``training``, ``measure`` and ``files``, SHA-256 by name.

    Raises:
        VTBError: If the training config has a value that is missing or cannot be resolved.
    """
    try:
        plain: Any = OmegaConf.to_container(training, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise VTBError(f"vtb study: {error}") from error
    plain.pop("held_out", None)
    plain.pop("threads", None)
    return {"training": plain, "measure": measure, "files": _files([plain["data"].get("train_ds"), measure])}


def settled(settings: Mapping[str, Any], others: Iterable[Path]) -> dict[str, Any]:
    """Settings with ``trainer.precision`` and ``measure.precision`` that are ``auto`` replaced by what they become.

    Arms are compared with one another, so all runs of a study have the precision of the first.

    Args:
        settings: See ``settings_of``.
        others: Files of settings of the study's other runs.
    """
    made: dict[str, Any] = json.loads(json.dumps(settings))
    trainer, measure = made["training"].get("trainer") or {}, made["measure"]
    first = next((json.loads(path.read_text(encoding="utf-8")) for path in others if path.exists()), None)
    if trainer.get("precision") == AUTO:
        before = first["training"]["trainer"].get("precision", AUTO) if first else AUTO
        trainer["precision"] = settings_here(made["training"])["precision"].value if before == AUTO else before
    if measure.get("precision") == AUTO:
        before = first["measure"].get("precision", "32-true") if first else AUTO
        device = device_type(measure.get("device", "cpu"))
        measure["precision"] = precision_here(AUTO, device).value if before == AUTO else before
    return made


def differing(path: Path, settings: Mapping[str, Any], may_be_gone: bool = False) -> str:
    """Says how the settings in a file differ from these, in words that follow "made"; empty where they do not.

    Args:
        path: The file.
        settings: What is asked for now.
        may_be_gone: Whether files that it was made with are missed by nobody.
    """
    there, now = flattened(json.loads(path.read_text(encoding="utf-8"))), flattened(json.loads(json.dumps(settings)))
    for key in {**there, **now}:
        # What the machine decides was decided when the run was made.
        if there.get(key) == now.get(key) or key.startswith(_OF_NO_EFFECT) or now.get(key) == AUTO:
            continue
        if may_be_gone and key.startswith("files.") and key not in now:
            continue
        if key.startswith("files."):
            return f"with another {key.removeprefix('files.')} than is there now: restore the file"
        return f"with {key}={there.get(key)!r}, and now it is {now.get(key)!r}: take the old value"
    return ""


def untouched_settings(training: Mapping[str, Any], measure: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the answers of the untouched LLM, as plain JSON, from the parts of a run's settings.

    What an arm is ``asked_with`` has no effect on an LLM without LoRA.
    """
    asked = {key: value for key, value in measure.items() if key not in (*ASKED_WITH, "way")}
    model = {key: training["model"].get(key) for key in ("pretrained_llm", "prompt_format")}
    model |= {key: value for key, value in training["model"].items() if key == "thinking"}
    return {"training": {"model": model}, "measure": asked, "files": _files(asked)}


def _files(value: Any) -> dict[str, str]:
    """SHA-256 of the files a config names, by what they are called there."""
    if isinstance(value, Mapping | list):
        items = value.values() if isinstance(value, Mapping) else value
        return {name: digest for item in items for name, digest in _files(item).items()}
    if isinstance(value, str) and len(value) < _LONGEST_NAME and locate(value).is_file():
        return {value: sha256(locate(value).read_bytes()).hexdigest()}
    return {}
