"""The prompt formats that are registered with NeMo beside its own: ``auto`` and ``chatml``."""

from typing import Any, ClassVar

import torch
from nemo.collections.common.prompts.formatter import Modality, PromptFormatter

from nemo_vtb.parts.prompts.chat_template import ChatTemplate

_MESSAGE = {"template": "|message|", "slots": {"message": Modality.Text}}
_START, _END = "<|im_start|>", "<|im_end|>"


class OwnTemplateFormatter(PromptFormatter):
    """``auto``: writes conversations as the tokenizer's own ``apply_chat_template`` does.

    Args:
        tokenizer: NeMo's wrapper of a Hugging Face tokenizer.
        defaults: As in NeMo; not used.

    Raises:
        VTBError: If the tokenizer has no template, or one in which answers cannot be told from the rest.
    """

    NAME = "auto"
    OUTPUT_ROLE = "assistant"
    TEMPLATE: ClassVar = {"system": _MESSAGE, "user": _MESSAGE, OUTPUT_ROLE: _MESSAGE}

    def __init__(self, tokenizer: Any, defaults: list[dict] | None = None) -> None:
        super().__init__(tokenizer, defaults)
        self.own_template = ChatTemplate(tokenizer.tokenizer)

    def encode_dialog(self, turns: list[dict], enable_thinking: bool | None = None) -> dict[str, torch.Tensor]:
        """NeMo's interface; the mask is that of ``nemo_vtb.parts.prompts.chat_template``."""
        said = [(turn["role"], turn["content"] if "content" in turn else turn["slots"]["message"]) for turn in turns]
        asked = said[-1][0] != self.OUTPUT_ROLE
        encoded = self.own_template.encode(said, asked, thinking=enable_thinking)
        ids = torch.from_numpy(encoded.input_ids)
        if asked:
            return {"input_ids": ids, "context_ids": ids}
        before = self.own_template.encode(said[:-1], for_generation=True, thinking=enable_thinking).input_ids
        context = min(len(before), len(ids))
        mask = torch.from_numpy(encoded.loss_mask)
        return {"input_ids": ids, "context_ids": ids[:context], "answer_ids": ids[context:], "mask": mask}


def _turn(role: str) -> dict:
    return {"template": f"{_START}{role}\n|message|{_END}\n", "slots": {"message": Modality.Text}}


class ChatMLPromptFormatter(PromptFormatter):
    """``chatml``: ``<|im_start|>role`` newline message ``<|im_end|>`` newline, for system, user and assistant.

    NeMo's own ``qwen`` format has no system role. Used for SmolLM2 and any LLM with ``<|im_start|>`` turns.
    """

    NAME = "chatml"
    OUTPUT_ROLE = "assistant"
    INFERENCE_PREFIX = f"{_START}assistant\n"
    TEMPLATE: ClassVar = {"system": _turn("system"), "user": _turn("user"), OUTPUT_ROLE: _turn(OUTPUT_ROLE)}
