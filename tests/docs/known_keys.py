"""Which config keys exist: those of every shipped config, and those that code reads without a config naming them."""

import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from typing import Any

from documents import ROOT
from omegaconf import DictConfig, OmegaConf

from nemo_vtb.config import compose

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
    from nemo_vtb.evaluation.judged import JudgeOptions
    from nemo_vtb.models.options import MODEL_KEYS, RetentionOptions

    found = {f"model.{name}" for name in MODEL_KEYS}
    found |= {f"model.retention.{field.name}" for field in fields(RetentionOptions)}
    found |= {f"model.retention.text.*.{name}" for name in ("type", "path", "at_most", "max_new_tokens")}
    found |= {f"eval.judge.{field.name}" for field in fields(JudgeOptions)}
    # Read with a literal, or with a tuple of them.
    for file in ("data/datamodule.py", "data/conversations/speak.py", "data/sources/source.py"):
        words = re.findall(r"[a-z_]{3,}", (ROOT / "nemo_vtb" / file).read_text())
        found |= {f"data.{part}.{word}" for part in ("train_ds", "validation_ds") for word in words}
        found |= {f"data.train_ds.blend.kinds.*.{word}" for word in words}
        found |= {f"data.train_ds.blend.kinds.*.speak.{word}" for word in words}
    return found


@cache
def _roots() -> frozenset[str]:
    return frozenset(key.partition(".")[0] for key in _keys()) | {"trainer", *_FOREIGN}


def _paths(section: Any, where: str = "") -> Iterator[str]:
    if isinstance(section, dict | DictConfig):
        for key, value in section.items():
            path = f"{where}.{key}" if where else str(key)
            yield path
            yield from _paths(value, path)
