"""The held-out questions of a run, asked before and after training: what the config lists under ``held_out``."""

from dataclasses import dataclass, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_vtb.config import check_keys, section_of
from nemo_vtb.data.sources.source import Reading
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.answers import Task
from nemo_vtb.evaluation.sets.held_out import held_out_set, suite_rows, text_conversations
from nemo_vtb.options import Tokens, read_options

HUMAN = "human:"


@dataclass
class HeldOut:
    """The section ``held_out``: what ``vtb quickstart`` asks before and after.

    Attributes:
        asked: Sets of questions about recordings.
        text: Text conversations, for the divergence from the untouched LLM.
        text_suite: Written questions with a check each.
        max_new_tokens: Longest answer.
    """

    asked: list[dict[str, Any]]
    text: str
    text_suite: str
    max_new_tokens: Tokens = 24


def check_held_out(cfg: DictConfig) -> None:
    """Refuses a section ``held_out``, or data without what is compared with it, before anything is loaded.

    Raises:
        VTBError: Names the key.
    """
    read_options(HeldOut, cfg.held_out, "held_out")
    for path in ("data.train_ds.blend.kinds", "data.validation_ds.kinds"):
        section_of(cfg, path)


def held_out_tasks(held_out: DictConfig, train_ds: DictConfig) -> list[Task]:
    """Draws what is asked.

    Args:
        held_out: ``asked`` lists the sets; see ``nemo_vtb.evaluation.sets.held_out``.
        train_ds: For the placeholder and the frame length.

    Raises:
        VTBError: On unknown keys, or what a source cannot give.
    """
    check_keys(held_out, [field.name for field in fields(HeldOut)], "held_out")
    entries: Any = OmegaConf.to_container(held_out.asked, resolve=True)
    reading = _reading(train_ds)
    asked = (held_out_set(entry, f"held_out.asked[{number}]", reading) for number, entry in enumerate(entries))
    return [task for part in asked for task in part.tasks]


def held_out_text(held_out: DictConfig, train_ds: DictConfig) -> list[Any]:
    """Held-out text conversations, for the divergence from the untouched LLM."""
    try:
        return text_conversations(held_out.text, _reading(train_ds))
    except VTBError as error:
        raise VTBError(f"held_out.text: {error}") from error


def text_suite(held_out: DictConfig) -> list[dict[str, Any]]:
    """Rows of the verifiable text suite: ``id``, ``prompt`` and ``check``."""
    try:
        return suite_rows(held_out.text_suite)
    except VTBError as error:
        raise VTBError(f"held_out.text_suite: {error}") from error


def _reading(train_ds: DictConfig) -> Reading:
    return Reading(train_ds.audio_locator_tag, train_ds.token_equivalent_duration)
