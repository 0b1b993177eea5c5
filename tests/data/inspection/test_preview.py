"""What every NeMo prompt format feeds the model, token by token, against golden files.

After a wanted change: VTB_UPDATE_GOLDEN=1 pytest tests/data/inspection/test_preview.py, and read the difference.
"""

import os
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from nemo_vtb.errors import VTBError

GOLDEN = Path(__file__).parent / "golden"
FORMATS = (
    "auto", "chatml", "gemma", "llama2", "llama3", "mistral", "nemotron-h", "nemotron-nano-v3",
    "phi2_chat", "phi2_code", "phi2_qa", "plain", "qwen", "qwen3",
)  # fmt: skip
REFUSED = {
    "canary": "writes no chats: its role 'user' has the slots",
    "canary2": "writes no chats: its role 'user' has the slots",
    "t5nmt": "writes no chats: its role 'user' has the slots message, target_lang",
}
# Of tokenizers that belong to the formats; SmolLM2's own has those of ChatML.
_MARKERS = [
    "<start_of_turn>", "<end_of_turn>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<s>", "</s>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "<SPECIAL_10>", "<SPECIAL_11>",
]  # fmt: skip
_ANSWERS = ["It says: “café” 🙂", "Yes.\n"]


@pytest.fixture(scope="module")
def many_markers(tiny_llm: Path) -> Any:
    from nemo.collections.common.tokenizers import AutoTokenizer

    from nemo_vtb import registry

    registry.register()
    wrapped = AutoTokenizer(str(tiny_llm), use_fast=True)
    wrapped.add_special_tokens({"additional_special_tokens": [*_MARKERS, "<|audio|>"]})
    return wrapped


def formatter_of(name: str, tokenizer: Any) -> Any:
    from nemo.collections.common.prompts import PromptFormatter

    return PromptFormatter.resolve(name)(tokenizer)


@pytest.fixture(scope="module")
def chat(conversation, clip) -> Any:
    return conversation(
        "chat",
        ("system", "Be brief."),
        ("user", "What does"),
        ("user", clip.path),
        ("user", "say?"),
        ("assistant", _ANSWERS[0]),
        ("user", "Sure?"),
        ("assistant", _ANSWERS[1]),
    )


def encoded_in(name: str, tokenizer: Any, chat: Any) -> Any:
    from nemo_vtb.data.dataset import VTBDataset

    return VTBDataset(tokenizer, name).encode(chat)


def test_every_format_that_nemo_registers_is_covered(many_markers):
    from nemo.collections.common.prompts import PromptFormatter

    assert sorted(PromptFormatter._REGISTERED_FORMATTERS) == sorted([*FORMATS, *REFUSED])


@pytest.mark.parametrize("name", FORMATS)
def test_preview_is_the_golden_one(name, many_markers, chat):
    from nemo_vtb.data.inspection.preview import token_lines

    encoded = encoded_in(name, many_markers, chat)
    lines = list(token_lines(encoded, chat, many_markers, "<|audio|>", 0.08))
    lines = [line.split("♪")[0] + "♪ CLIP" if "♪" in line else line for line in lines]
    file = GOLDEN / f"preview_{name}.txt"
    if os.environ.get("VTB_UPDATE_GOLDEN"):
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == file.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("name", FORMATS)
def test_every_answer_is_learnt_with_its_end_and_nothing_else(name, many_markers, chat):
    from nemo_vtb.data.prompts.formats import check_prompt_format
    from nemo_vtb.parts.prompts.turn_mask import end_of_turn_id

    formatter = formatter_of(name, many_markers)
    check_prompt_format(formatter)
    encoded = encoded_in(name, many_markers, chat)
    pairs = zip(encoded.input_ids.tolist(), encoded.loss_mask.tolist(), strict=True)
    runs = [[i for i, _ in run] for learnt, run in groupby(pairs, key=lambda pair: pair[1]) if learnt]
    final = [many_markers.eos] if formatter.INSERT_EOS else []
    if final:  # behind the white space that ends the last turn
        assert runs.pop() == final
    assert [many_markers.ids_to_text(run[:-1], remove_special_tokens=False).rstrip(" ") for run in runs] == _ANSWERS
    assert {run[-1] for run in runs} == {end_of_turn_id(formatter)}


@pytest.mark.parametrize("name", FORMATS)
def test_the_system_prompt_stands_in_front_of_the_first_question_once(name, many_markers, chat):
    encoded = encoded_in(name, many_markers, chat)
    text = many_markers.ids_to_text(encoded.input_ids.tolist(), remove_special_tokens=False)
    assert text.count("Be brief.") == 1
    assert text.index("Be brief.") < text.index("What does") < text.index("<|audio|>") < text.index("It says")


def test_llama2_writes_the_system_prompt_in_its_own_way(many_markers, chat):
    encoded = encoded_in("llama2", many_markers, chat)
    text = many_markers.ids_to_text(encoded.input_ids.tolist(), remove_special_tokens=False)
    assert "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWhat does" in text


@pytest.mark.parametrize("name", REFUSED)
def test_formats_that_write_no_chats_are_refused_by_name(name, many_markers):
    from nemo_vtb.data.prompts.formats import check_prompt_format

    with pytest.raises(VTBError, match=f"prompt format '{name}' {REFUSED[name]}"):
        check_prompt_format(formatter_of(name, many_markers))


def test_a_format_of_another_llm_is_refused(tokenizer):
    from nemo_vtb import registry
    from nemo_vtb.data.prompts.formats import check_prompt_format

    registry.register()
    with pytest.raises(VTBError, match=r"'gemma' ends answers with '<end_of_turn>', which this tokenizer splits into"):
        check_prompt_format(formatter_of("gemma", tokenizer))


def test_preview_of_a_config_shows_each_kind(tiny_llm, tmp_path, capsys):
    from nemo_vtb.cli import main

    arguments = ["--config-name=quickstart", f"model.pretrained_llm={tiny_llm}"]
    assert main(["preview", *arguments, "--kind=asr", "--count=2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if line.startswith("==")] == ["== asr", "== asr"]
    assert any(" * " in line for line in lines) and any("♪" in line for line in lines)
    assert main(["preview", *arguments, "data.train_ds.prompt_format=t5nmt"]) == 2
    assert "prompt format 't5nmt' writes no chats" in capsys.readouterr().err
