"""Which config keys exist: those of every shipped config, and those of the reference."""

import re
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any

from documents import ROOT
from omegaconf import DictConfig, OmegaConf

from nemo_vtb.config import compose

sys.path.append(str(ROOT / "tutorials" / "reference"))

_CONFIGS = (
    ("quickstart", ["+blend=speak", "+lora@model.lora=r8"]),
    ("reference", []),
    ("canary_gemma", ["+cluster=slurm"]),
    ("eval/quickstart", []),
    ("eval/judge", []),
    ("study/quickstart", []),
    ("synth/text", []),
    ("synth/qa", []),
    ("synth/speech", []),
)
# Below these a user chooses the names.
_NAMED = re.compile(
    r"(?<=\bkinds\.)\w+|(?<=\bsets\.)\w+|(?<=\beval\.text\.)\w+|(?<=\bretention\.text\.)\w+|(?<=\barms\.)\w+"
)
# Sections of other projects, whose own configs say what they may hold.
_FOREIGN = ("exp_manager", "hydra")
# Reasons for which makers of data drop rows begin with these too.
_REASONS = ("answer", "question", "user", "transcript")

# Sections with keys of other libraries, or with any key at all.
_OPEN = (
    *(f"model.{name}" for name in ("lora", "perception", "llm_config", "optimizer", "lr_scheduler")),
    *("data.train_ds.augment", "data.train_ds.blend.kinds.*.share", "source.only", "voices", "llm.headers"),
)


def known(key: str) -> bool | None:
    """Whether a dotted key exists; None where it does not look like one of ours."""
    root, _, rest = key.partition(".")
    if root not in _roots() or root in (*_FOREIGN, *_REASONS) or rest in ("json", "jsonl", "sbatch", "html"):
        return None
    key = _NAMED.sub("*", key)
    if root == "trainer":
        from lightning.pytorch import Trainer

        return rest.split(".")[0] in Trainer.__init__.__wrapped__.__code__.co_varnames  # type: ignore[attr-defined]
    return key in _keys() or any(key.startswith(f"{one}.") for one in _OPEN)


@cache
def _keys() -> frozenset[str]:
    found: set[str] = set()
    for name, overrides in _CONFIGS:
        cfg = compose(name, [one for one in overrides if not one.startswith("+lora")])
        found |= set(_paths(OmegaConf.to_container(cfg)))
    return frozenset(_NAMED.sub("*", key) for key in found | _of_code())


def _of_code() -> set[str]:
    """The keys of the reference, which are those that readers take."""
    from sections import PAGES

    found = {section.key(row) for page in PAGES for section in page.sections() for row in section.rows}
    found |= {key.replace("data.train_ds.augment", "data.train_ds.blend.kinds.NAME.augment") for key in found}
    found |= {key.replace("eval.text", "model.retention.text") for key in found}
    return {key.replace(".NAME", ".*") for key in found}


@cache
def _roots() -> frozenset[str]:
    return frozenset(key.partition(".")[0] for key in _keys()) | {"trainer", *_FOREIGN}


def _paths(section: Any, where: str = "") -> Iterator[str]:
    if isinstance(section, dict | DictConfig):
        for key, value in section.items():
            path = f"{where}.{key}" if where else str(key)
            yield path
            yield from _paths(value, path)
