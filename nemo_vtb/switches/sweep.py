"""Runs over several values (``--multirun``), each of which is a run of its own."""

import sys
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_vtb.errors import VTBError

_SECTION = "exp_manager"
# With these, NeMo's exp_manager makes the folder that it goes on from.
_FOLDER = ("explicit_log_dir", "exp_dir", "name", "version")
_LISTS = (",", "range(", "choice(", "interval(", "glob(")


def check_sweep(cfg: DictConfig) -> None:
    """Refuses a sweep whose runs would go on from one another, the second value from what the first has trained.

    Args:
        cfg: Of one run, with its interpolations: with one in its name, a folder is taken for that run's own.

    Raises:
        VTBError: Names the key and what to write there.
    """
    from hydra.core.hydra_config import HydraConfig

    # Only runs of a sweep have a number.
    if not HydraConfig.initialized() or OmegaConf.is_missing(HydraConfig.get().job, "num"):
        return
    manager: Any = cfg.get(_SECTION)
    if not isinstance(manager, DictConfig) or not manager.get("resume_if_exists"):
        return
    lists = [word.partition("=")[0].lstrip("+") for word in sys.argv[1:] if _is_list(word)]
    names = {f"{_SECTION}.{key}" for key in _FOLDER}
    written = OmegaConf.to_container(manager, resolve=False)
    if not lists or names & set(lists) or any("${" in str(written.get(key)) for key in _FOLDER):  # type: ignore[union-attr]
        return
    key, fixed = next(((key, manager[key]) for key in _FOLDER if manager.get(key)), ("explicit_log_dir", "runs"))
    raise VTBError(
        f"{_SECTION}.{key}={fixed} is one folder for all runs of the sweep, and with {_SECTION}.resume_if_exists each "
        f"would go on from the one before: write '{_SECTION}.{key}={fixed}/${{hydra:job.override_dirname}}', or "
        f"{fixed}/${{hydra:job.num}}"
    )


def _is_list(word: str) -> bool:
    key, equals, value = word.partition("=")
    # Within brackets or quotes it is one value.
    return (
        bool(equals) and not key.startswith("-") and value[:1] not in "[{'\"" and any(sign in value for sign in _LISTS)
    )
