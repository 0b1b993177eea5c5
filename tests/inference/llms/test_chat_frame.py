import copy
from pathlib import Path
from typing import Any

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.llms.chat_frame import ChatFrame

HISTORY = [("Who are you?", "A lamp."), ("Why?", "By chance.")]


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2)


def test_the_frame_leaves_out_the_default_system_prompt(tokenizer):
    frame = ChatFrame.from_tokenizer(tokenizer)
    assert frame.user_query([]) == "<|im_start|>user\n"
    assert frame.answer_query([], "Hi.") == "<|im_start|>user\nHi.<|im_end|>\n<|im_start|>assistant\n"


def test_the_frame_renders_as_the_template_does(tokenizer):
    frame = ChatFrame.from_tokenizer(tokenizer)
    messages = [{"role": "system", "content": "Be kind."}]
    for user, answer in HISTORY:
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False)
    assert frame.render(HISTORY, "Be kind.") == rendered
    assert frame.user_query(HISTORY, "Be kind.") == rendered + "<|im_start|>user\n"


def test_a_template_with_bos_and_without_a_system_role(tokenizer):
    gemma_like = copy.deepcopy(tokenizer)
    gemma_like.bos_token = "<|endoftext|>"
    gemma_like.chat_template = (
        "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}<t>{{ 'model' if m.role == 'assistant' else 'user' }}\n{{ m.content }}</t>\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}<t>model\n{% endif %}"
    )
    frame = ChatFrame.from_tokenizer(gemma_like)
    assert frame.system is None
    assert frame.answer_query([("a", "b")], "c") == (
        "<|endoftext|><t>user\na</t>\n<t>model\nb</t>\n<t>user\nc</t>\n<t>model\n"
    )
    assert frame.user_query([], "a topic") == "<|endoftext|><t>user\n"


def test_unusable_templates_are_refused(tokenizer):
    broken = copy.deepcopy(tokenizer)
    broken.chat_template = None
    with pytest.raises(VTBError, match="no chat template"):
        ChatFrame.from_tokenizer(broken)
    broken.chat_template = "{{ messages[-1].content }}"
    with pytest.raises(VTBError, match="every turn alike"):
        ChatFrame.from_tokenizer(broken)
