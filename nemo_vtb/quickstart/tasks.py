"""The held-out questions of a run, asked before and after training: what the config lists under ``held_out``."""

import json
from pathlib import Path
from random import Random
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_vtb.config import check_keys
from nemo_vtb.data.formats import locate
from nemo_vtb.data.sources import ConversationSource, read_source
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import Task

_OWN_KEYS = ("kind", "group", "at_most")
_SECTION_KEYS = ("asked", "text", "text_suite", "max_new_tokens")
HUMAN = "human:"


def held_out_tasks(held_out: DictConfig, train_ds: DictConfig) -> list[Task]:
    """Draws what is asked.

    Args:
        held_out: ``asked`` lists sources as in ``input_cfg``, each with its ``kind``, a ``group`` that results are
            averaged over and how many to draw ``at_most``. Rows whose answer cannot be checked exactly are left out.
        train_ds: For the placeholder and the frame length.

    Raises:
        VTBError: On unknown keys, or what a source cannot give.
    """
    check_keys(held_out, _SECTION_KEYS, "held_out")
    tasks: list[Task] = []
    for entry in OmegaConf.to_container(held_out.asked, resolve=True):  # type: ignore[union-attr]
        own = {key: entry.pop(key) for key in _OWN_KEYS if key in entry}  # type: ignore[union-attr]
        if "kind" not in own:
            raise VTBError("an entry of held_out.asked has no kind")
        source = _source(train_ds, own["kind"], entry)
        drawn = [source.draw(index, 0) for index in range(len(source))]
        checkable = [conversation for conversation in drawn if conversation.custom.get("checkable", True)]
        chosen = Random(0).sample(checkable, min(own.get("at_most", len(checkable)), len(checkable)))
        tasks += [Task(own["kind"], conversation, own.get("group", "")) for conversation in chosen]
    return tasks


def held_out_text(held_out: DictConfig, train_ds: DictConfig) -> list[Any]:
    """Held-out text conversations, for the divergence from the untouched LLM."""
    source = _source(train_ds, "text", {"type": "multimodal_conversation", "manifest_filepath": held_out.text})
    return [source.draw(index, 0) for index in range(len(source))]


def text_suite(held_out: DictConfig) -> list[dict[str, Any]]:
    """Rows of the verifiable text suite: ``prompt`` and ``check``."""
    path: Path = locate(held_out.text_suite)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _source(cfg: DictConfig, kind: str, entry: Any) -> ConversationSource:
    return read_source(entry, kind, cfg.audio_locator_tag, cfg.token_equivalent_duration)
