"""The tokenizer's own template: token for token what Transformers renders, and every answer learnt to its end."""

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from chat_templates import ENDS, KINDS, byte_tokenizer, tokenizer_of_kind

from nemo_vtb.assets.resolve import local_folder
from nemo_vtb.errors import VTBError
from nemo_vtb.parts.prompts.chat_template import ChatTemplate, with_thinking

CHATS = {
    "one turn": [("user", "What is it?"), ("assistant", "A cat.")],
    "with a system turn": [("system", "Be brief."), ("user", "What is it?"), ("assistant", "A cat.")],
    "several turns": [
        ("user", "Say 1"), ("assistant", "One."), ("user", "And 2?"), ("assistant", "Two,\n\ntwo."),
        ("user", "Again"), ("assistant", "Two."),
    ],
    "equal answers": [("user", "a"), ("assistant", "a"), ("user", "a"), ("assistant", "a")],
    "white space": [("user", " hi \n"), ("assistant", " Yes.\n")],
    "letters": [("user", "Grüße 🙂?"), ("assistant", "好的, “café” 🙂.")],
    "marks in a question": [("user", "Say assistant\n and <|im_end|> x"), ("assistant", "user\nNo")],
}  # fmt: skip


def chat_of(turns: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"role": role, "content": text} for role, text in turns]


def own_ids(tokenizer: Any, turns: list[tuple[str, str]], parts: bool = False, **options: Any) -> list[int]:
    chat = chat_of(turns)
    if parts:
        chat = [{"role": m["role"], "content": [{"type": "text", "text": m["content"]}]} for m in chat]
    return tokenizer.apply_chat_template(chat, return_dict=False, **options)


def learnt(tokenizer: Any, encoded: Any) -> list[str]:
    pairs = zip(encoded.input_ids.tolist(), encoded.loss_mask.tolist(), strict=True)
    runs = [[i for i, _ in run] for keep, run in groupby(pairs, key=lambda pair: pair[1]) if keep]
    return [tokenizer.decode(run, skip_special_tokens=False) for run in runs]


@pytest.mark.parametrize("turns", CHATS.values(), ids=CHATS.keys())
@pytest.mark.parametrize("name", KINDS)
def test_ids_are_those_of_apply_chat_template_and_answers_are_learnt(name: str, turns: list[tuple[str, str]]):
    tokenizer = tokenizer_of_kind(name)
    template = ChatTemplate(tokenizer)
    encoded = template.encode(turns)
    asked = template.encode(turns[:-1], for_generation=True)
    theirs = turns
    if turns[0][0] == "system" and name == "gemma":
        theirs = [("user", f"{turns[0][1]}\n\n{turns[1][1]}"), *turns[2:]]
    assert encoded.input_ids.tolist() == own_ids(tokenizer, theirs, name == "parts")
    generation = own_ids(tokenizer, theirs[:-1], name == "parts", add_generation_prompt=True)
    assert asked.input_ids.tolist() == generation

    end = ENDS.get(name, "<|im_end|>")
    answers = [text for role, text in turns if role == "assistant"]
    found = learnt(tokenizer, encoded)
    last = "<|return|>" if name == "harmony" else end
    assert [text.strip() for text in found] == [
        f"{text.strip() if name in ('llama3', 'gemma', 'mistral') else text.lstrip(chr(10))}{e}".strip()
        for text, e in zip(answers, [*[end] * (len(answers) - 1), last], strict=True)
    ]
    assert template.end_of_turn_id == tokenizer.convert_tokens_to_ids(
        last.split("|><|")[-1].replace("/TURN|>", "<|/TURN|>")
    )


def test_thoughts_are_learnt_where_the_data_has_them_and_not_where_the_template_adds_a_block():
    tokenizer = tokenizer_of_kind("qwen3")
    template = ChatTemplate(tokenizer)
    plain = template.encode([("user", "2+2?"), ("assistant", "4")])
    assert learnt(tokenizer, plain) == ["4<|im_end|>"]
    assert "<think>\n\n</think>\n\n4" in tokenizer.decode(plain.input_ids)
    thought = template.encode([("user", "2+2?"), ("assistant", "<think>\nTwo twos.\n</think>\n\n4")])
    assert learnt(tokenizer, thought) == ["<think>\nTwo twos.\n</think>\n\n4<|im_end|>"]
    earlier = [("user", "2+2?"), ("assistant", "<think>\nTwo twos.\n</think>\n\n4"), ("user", "+1"), ("assistant", "5")]
    assert learnt(tokenizer, template.encode(earlier)) == ["4<|im_end|>", "5<|im_end|>"]


@pytest.mark.parametrize(
    ("mode", "opened"), [("off", "<think>\n\n</think>\n\n"), ("auto", "<think>\n\n</think>\n\n"), ("on", "")]
)
def test_thinking_is_set_in_the_template_for_whoever_renders_it(mode: str, opened: str):
    tokenizer = tokenizer_of_kind("qwen3")
    untouched = tokenizer_of_kind("qwen3")
    with_thinking(tokenizer, mode)
    template = ChatTemplate(tokenizer)
    turns = [("user", "2+2?")]
    asked = template.encode(turns, for_generation=True).input_ids.tolist()
    assert tokenizer.decode(asked).endswith(f"<|im_start|>assistant\n{opened}")
    assert asked == own_ids(untouched, turns, add_generation_prompt=True, enable_thinking=mode == "on")
    # Asked for explicitly, the other way is still to be had.
    other = template.encode(turns, for_generation=True, thinking=mode != "on").input_ids.tolist()
    assert other == own_ids(untouched, turns, add_generation_prompt=True, enable_thinking=mode != "on")
    assert other != asked


def test_thinking_that_cannot_be_switched_is_refused():
    with pytest.raises(VTBError, match=r"model\.thinking=off: .* has no switch for it and always opens a block"):
        with_thinking(tokenizer_of_kind("deepseek"), "off")
    with pytest.raises(VTBError, match=r"model\.thinking=on: .* has no switch for it and never opens a block"):
        with_thinking(tokenizer_of_kind("chatml"), "on")
    tokenizer = tokenizer_of_kind("chatml")
    with_thinking(tokenizer, "off")
    assert tokenizer.chat_template == KINDS["chatml"].template


@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "qwen2.5-coder-0.5b-instruct"])
def test_real_tokenizers(name: str, smollm2: Path):
    """Qwen's comes with 1.3 GB of weights: it is tried where they are already."""
    from transformers import AutoTokenizer

    folder = local_folder(name)
    if folder is None:
        pytest.skip(f"vtb assets fetch {name}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    template = ChatTemplate(tokenizer)
    for turns in CHATS.values():
        encoded = template.encode(turns)
        assert encoded.input_ids.tolist() == own_ids(tokenizer, turns)
        assert learnt(tokenizer, encoded) == [f"{text}<|im_end|>" for role, text in turns if role == "assistant"]
        asked = template.encode(turns[:-1], for_generation=True).input_ids.tolist()
        assert asked == own_ids(tokenizer, turns[:-1], add_generation_prompt=True)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template"),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "ends answers with nothing at which"),
        (
            "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}",
            "leaves out",
        ),
        ({"rag": "{{ 1 }}", "tools": "{{ 2 }}"}, "has several chat templates and none by the name of default"),
        ("{% for m in messages %}{{ m.content + bos_token }}{% endfor %}", "refuses turns .* 'bos_token' is undefined"),
        ("{{ raise_exception('never') }}", "refuses turns of user, assistant, user, assistant: never"),
        ("{% for m in messages %}{{ m.content }}{{ m.content }}<|im_end|>{% endfor %}", "writes an answer twice"),
    ],
)
def test_templates_that_cannot_be_learnt_are_refused(template: Any, message: str):
    tokenizer = byte_tokenizer(("<|im_start|>", "<|im_end|>"), template, eos_token="<|im_end|>")
    with_thinking(tokenizer, "auto")
    with pytest.raises(VTBError, match=message):
        ChatTemplate(tokenizer)


def test_a_system_turn_that_the_template_writes_in_prompts_alone_is_said_once(monkeypatch: Any):
    """Mistral 7B v0.3 has it in the last question, and leaves it out where an answer follows."""
    from nemo.collections.common.tokenizers import AutoTokenizer
    from nemo.utils import logging

    from nemo_vtb.data.prompts.formats import formatter_of

    written = """{% for m in messages %}{% if m.role == 'user' %}{{ '[ASK]' }}
    {%- if loop.last and messages[0].role == 'system' %}{{ messages[0].content + '\n\n' }}{% endif %}
    {{- m.content + '[/ASK]' }}{% elif m.role == 'assistant' %}{{ m.content + '</s>' }}{% endif %}{% endfor %}"""
    tokenizer = byte_tokenizer(("</s>", "[ASK]", "[/ASK]"), written, eos_token="</s>")
    template = ChatTemplate(tokenizer)
    turns = CHATS["with a system turn"]
    assert template.forgets_system
    assert template.encode(turns).input_ids.tolist() == own_ids(tokenizer, turns)
    asked = template.encode(turns[:-1], for_generation=True).input_ids.tolist()
    assert asked == own_ids(tokenizer, turns[:-1]) and "Be brief." in tokenizer.decode(asked)
    said: list[str] = []
    monkeypatch.setattr(logging, "warning", said.append)
    wrapped = AutoTokenizer.__new__(AutoTokenizer)
    wrapped.tokenizer = tokenizer
    formatter_of("auto", wrapped), formatter_of("auto", wrapped)
    assert len(said) == 1 and "in training system turns will not be heard" in said[0]


def test_a_clock_that_moves_on_while_a_conversation_is_rendered_is_asked_again():
    tokenizer = byte_tokenizer(("<|im_start|>", "<|im_end|>"), eos_token="<|im_end|>")
    tokenizer.chat_template = (
        "{{ strftime_now('%d') }}{% for m in messages %}{{ m.content + '<|im_end|>' }}{% endfor %}"
    )
    template = ChatTemplate(tokenizer)
    render, days = tokenizer.apply_chat_template, iter(["27"])
    tokenizer.apply_chat_template = lambda *a, **k: f"{next(days, '28')}{render(*a, **k)[2:]}"
    encoded = template.encode(CHATS["one turn"])
    assert tokenizer.decode(encoded.input_ids).startswith("28") and learnt(tokenizer, encoded) == ["A cat.<|im_end|>"]


def test_an_answer_that_the_last_turn_leaves_open_gets_its_end():
    """GLM's template: what ends an answer is the header of the next turn."""
    glm = "[S]{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    glm += "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
    tokenizer = byte_tokenizer(("[S]", "<|user|>", "<|assistant|>", "<|system|>"), glm, eos_token="<|user|>")
    template = ChatTemplate(tokenizer)
    turns = CHATS["several turns"]
    encoded = template.encode(turns)
    assert encoded.input_ids.tolist() == [*own_ids(tokenizer, turns), tokenizer.convert_tokens_to_ids("<|user|>")]
    assert learnt(tokenizer, encoded) == ["One.<|user|>", "Two,\n\ntwo.<|user|>", "Two.<|user|>"]
