"""The held-out questions of a run, asked before and after training: what the config lists under ``held_out``."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from nemo_vtb.config import check_keys
from nemo_vtb.data.sources.source import Reading
from nemo_vtb.evaluation.answers import Task
from nemo_vtb.evaluation.sets.held_out import held_out_set, suite_rows, text_conversations

_SECTION_KEYS = ("asked", "text", "text_suite", "max_new_tokens")
HUMAN = "human:"


def held_out_tasks(held_out: DictConfig, train_ds: DictConfig) -> list[Task]:
    """Draws what is asked.

    Args:
        held_out: ``asked`` lists the sets; see ``nemo_vtb.evaluation.sets.held_out``.
        train_ds: For the placeholder and the frame length.

    Raises:
        VTBError: On unknown keys, or what a source cannot give.
    """
    check_keys(held_out, _SECTION_KEYS, "held_out")
    entries: Any = OmegaConf.to_container(held_out.asked, resolve=True)
    reading = _reading(train_ds)
    asked = (held_out_set(entry, f"held_out.asked[{number}]", reading) for number, entry in enumerate(entries))
    return [task for part in asked for task in part.tasks]


def held_out_text(held_out: DictConfig, train_ds: DictConfig) -> list[Any]:
    """Held-out text conversations, for the divergence from the untouched LLM."""
    return text_conversations(held_out.text, _reading(train_ds))


def text_suite(held_out: DictConfig) -> list[dict[str, Any]]:
    """Rows of the verifiable text suite: ``id``, ``prompt`` and ``check``."""
    return suite_rows(held_out.text_suite)


def _reading(train_ds: DictConfig) -> Reading:
    return Reading(train_ds.audio_locator_tag, train_ds.token_equivalent_duration)
