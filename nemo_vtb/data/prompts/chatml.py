"""The ChatML prompt format with a system role, registered with NeMo under the name ``chatml``.

NeMo's own ``qwen`` format has no system role. Used for SmolLM2 and any LLM with ``<|im_start|>`` turns.
"""

from typing import ClassVar

from nemo.collections.common.prompts.formatter import Modality, PromptFormatter

_START, _END = "<|im_start|>", "<|im_end|>"


def _turn(role: str) -> dict:
    return {"template": f"{_START}{role}\n|message|{_END}\n", "slots": {"message": Modality.Text}}


class ChatMLPromptFormatter(PromptFormatter):
    """``<|im_start|>role`` newline message ``<|im_end|>`` newline, for system, user and assistant."""

    NAME = "chatml"
    OUTPUT_ROLE = "assistant"
    INFERENCE_PREFIX = f"{_START}assistant\n"
    TEMPLATE: ClassVar = {"system": _turn("system"), "user": _turn("user"), OUTPUT_ROLE: _turn(OUTPUT_ROLE)}
