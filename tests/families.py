"""Tiny random LLMs of any family, as ``examples/support_matrix.py`` makes them."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))


@pytest.fixture(scope="session")
def build_family(tiny_whisper: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Builds a model around a tiny LLM: ``(model_type, fields, **model section)`` to model and folder of the LLM."""
    from support.families import LLMS
    from support.tiny import llm_folder, section

    def build(model_type: str, fields: dict[str, Any] | None = None, **more: Any) -> tuple[Any, Path]:
        from nemo_vtb import VoiceTextBlender

        entry = LLMS[model_type]
        folder = tmp_path_factory.mktemp(model_type) / "llm"
        llm_folder(folder, model_type, entry["fields"] | (fields or {}), entry["without"])
        cfg = section(folder, tiny_whisper)
        cfg["lora"] |= more.pop("lora", {})
        return VoiceTextBlender(cfg | more).eval(), folder

    return build
