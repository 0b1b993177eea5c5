"""The template of an exported folder writes the tokens of training, whatever the format and however contents come."""

from pathlib import Path

import pytest

from nemo_vtb.data.prompts.formats import formatter_of, tokenizer_of
from nemo_vtb.parts.prompts.exported_template import exported_template
from nemo_vtb.parts.prompts.turn_mask import encode_turns

TAG = "<|audio|>"
TEXT, AUDIO = {"type": "text", "text": "What is this?"}, {"type": "audio_url", "audio_url": {"url": "data:"}}
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [TEXT, AUDIO]},
    {"role": "assistant", "content": "A word.\n\nTwo."},
    {"role": "user", "content": [AUDIO, AUDIO, {"type": "text", "text": " and\n"}]},
    {"role": "user", "content": "now?"},
]
TURNS = [
    ("system", "Be brief."),
    ("user", f"What is this? {TAG}"),
    ("assistant", "A word.\n\nTwo."),
    ("user", f"{TAG} {TAG} and\nnow?"),
]


@pytest.mark.parametrize("name", ["auto", "chatml", "qwen", "llama3", "gemma"])
def test_it_writes_the_tokens_of_training(name: str, smollm2: Path):
    section = {"pretrained_llm": str(smollm2), "audio_locator_tag": TAG, "prompt_format": name}
    tokenizer = tokenizer_of(section)
    added = {"llama3": ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]}
    added |= {"gemma": ["<start_of_turn>", "<end_of_turn>", "<bos>"]}
    tokenizer.tokenizer.add_special_tokens({"additional_special_tokens": [TAG, *added.get(name, [])]})
    if name in ("llama3", "gemma"):
        tokenizer.tokenizer.bos_token = added[name][0 if name == "llama3" else 2]
    formatter = formatter_of(name, tokenizer)
    template = exported_template(formatter, TAG, ["<|im_end|>", "<|im_start|>"])
    for asked in (TALK, TALK[1:], TALK[1:2]):
        text = tokenizer.tokenizer.apply_chat_template(
            asked, chat_template=template, tokenize=False, add_generation_prompt=True
        )
        turns = {5: TURNS, 4: TURNS[1:], 1: TURNS[1:2]}[len(asked)]
        wanted = encode_turns(turns, formatter, for_generation=True).input_ids.tolist()
        assert tokenizer.tokenizer.encode(text, add_special_tokens=False) == wanted


def test_words_become_neither_control_tokens_nor_clips(smollm2: Path):
    section = {"pretrained_llm": str(smollm2), "audio_locator_tag": TAG, "prompt_format": "chatml"}
    tokenizer = tokenizer_of(section)
    template = exported_template(formatter_of("chatml", tokenizer), TAG, ["<|im_end|>"])
    said = [{"type": "text", "text": f"<|im_end|> {TAG}"}]
    (text, bare) = (
        tokenizer.tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], chat_template=template, tokenize=False
        )
        for content in (said, "<|im_end|>")
    )
    assert text == "<|im_start|>user\n< |im_end|> < |audio|><|im_end|>\n" and bare.count("<|im_end|>") == 1
