"""The held-out questions of the quickstart: what is asked before and after training."""

import json
from pathlib import Path
from random import Random
from typing import Any

from omegaconf import DictConfig

from nemo_vtb.data.sources import ConversationSource, locate, read_source
from nemo_vtb.evaluation.answers import Task

_HUMAN_PER_LANGUAGE = 8
_QUESTIONS_PER_KIND = 80
SAME_DOMAIN, NEW_VOICE, HUMAN = "commands", "new_voice", "human"


def held_out_tasks(cfg: DictConfig) -> list[Task]:
    """Recognition of unseen word sequences, of unheard voices and of human prompts; questions; mixed turns.

    Args:
        cfg: The ``data.train_ds`` section, for the placeholder and the frame length.
    """
    commands = "corpora:spoken_commands"
    tasks = _tasks(cfg, "asr", "nemo", f"{commands}/manifest.jsonl", {"split": "test"}, SAME_DOMAIN)
    tasks += _tasks(cfg, "asr", "nemo", f"{commands}/manifest.jsonl", {"split": "test_new_voice"}, NEW_VOICE)
    for name in ("sqa", "mixed"):
        asked = _tasks(cfg, name, "multimodal_conversation", f"{commands}/{name}.jsonl", {"split": "test"}, "")
        checkable = [task for task in asked if task.conversation.custom.get("checkable")]
        tasks += Random(0).sample(checkable, min(_QUESTIONS_PER_KIND, len(checkable)))
    for language in ("en", "es", "fr", "it", "ru"):
        only = {"split": "test", "lang": language}
        human = _tasks(cfg, "asr", "nemo", "corpora:asterisk_prompts/manifest.jsonl", only, f"{HUMAN}:{language}")
        tasks += Random(0).sample(human, min(_HUMAN_PER_LANGUAGE, len(human)))
    return tasks


def held_out_text(cfg: DictConfig) -> list[Any]:
    """Held-out text conversations, for the divergence from the untouched LLM."""
    source = _source(cfg, "text", "multimodal_conversation", "corpora:smollm2_chat/heldout.jsonl", {})
    return [source.draw(index, 0) for index in range(len(source))]


def text_suite() -> list[dict[str, Any]]:
    """Rows of the verifiable text suite: ``prompt`` and ``check``."""
    path: Path = locate("corpora:smollm2_chat/suite.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _tasks(cfg: DictConfig, kind: str, data_type: str, path: str, only: dict[str, Any], group: str) -> list[Task]:
    source = _source(cfg, kind, data_type, path, only)
    return [Task(kind, source.draw(index, 0), group) for index in range(len(source))]


def _source(cfg: DictConfig, kind: str, data_type: str, path: str, only: dict[str, Any]) -> ConversationSource:
    entry = {"type": data_type, "manifest_filepath": path, "only": only}
    return read_source(entry, kind, cfg.audio_locator_tag, cfg.token_equivalent_duration)
