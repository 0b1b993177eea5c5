"""What NeMo's prompt formats learn from differs: the last answer only (qwen3), or the assistant header too (qwen)."""

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_TURNS = [
    ("user", "What's 12 + 30?"),
    ("assistant", "It is 42."),
    ("user", "In words?"),
    ("assistant", 'Forty-two,\nI think: "quarante-deux" en français.'),
]
_ANSWERS = [text for role, text in _TURNS if role == "assistant"]
_END_OF_TURN = {
    "qwen": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "chatml": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
}
_OTHER_FAMILIES = [
    "<start_of_turn>",
    "<end_of_turn>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]


@pytest.fixture(scope="module")
def tokenizer(tiny_llm: Path) -> Any:
    """SmolLM2's tokenizer, which also knows the special tokens of the other families."""
    from nemo.collections.common.tokenizers import AutoTokenizer

    from nemo_vtb import registry

    registry.register()
    wrapped = AutoTokenizer(str(tiny_llm), use_fast=True)
    wrapped.add_special_tokens({"additional_special_tokens": _OTHER_FAMILIES})
    return wrapped


def _formatter(name: str, tokenizer: Any) -> Any:
    from nemo.collections.common.prompts import PromptFormatter

    return PromptFormatter.resolve(name)(tokenizer)


def _stock(name: str, tokenizer: Any) -> dict[str, np.ndarray]:
    turns = [{"role": role, "slots": {"message": text}} for role, text in _TURNS]
    return {key: value.numpy() for key, value in _formatter(name, tokenizer).encode_dialog(turns).items()}


def _spans(ids: np.ndarray, mask: np.ndarray, tokenizer: Any) -> list[str]:
    """The text of each run of supervised tokens."""
    runs = groupby(zip(ids.tolist(), mask.tolist(), strict=True), key=lambda pair: pair[1])
    return [tokenizer.ids_to_text([i for i, _ in run], remove_special_tokens=False) for kept, run in runs if kept]


def test_stock_qwen3_learns_from_the_last_answer_only(tokenizer: Any):
    encoded = _stock("qwen3", tokenizer)
    (span,) = _spans(encoded["input_ids"], encoded["mask"], tokenizer)
    assert _ANSWERS[1] in span and _ANSWERS[0] not in span


def test_stock_qwen_learns_to_write_the_header_of_its_own_turn(tokenizer: Any):
    encoded = _stock("qwen", tokenizer)
    spans = _spans(encoded["input_ids"], encoded["mask"], tokenizer)
    assert spans == [f"<|im_start|>assistant\n{answer}<|im_end|>\n" for answer in _ANSWERS]


@pytest.mark.parametrize("name", _END_OF_TURN)
def test_ours_learns_every_answer_with_its_end_of_turn_and_nothing_else(name: str, tokenizer: Any):
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    formatter = _formatter(name, tokenizer)
    encoded = encode_turns(_TURNS, formatter)
    expected = [answer + _END_OF_TURN[name] for answer in _ANSWERS]
    if formatter.INSERT_EOS:
        expected.append(tokenizer.ids_to_text([tokenizer.eos], remove_special_tokens=False))
    assert _spans(encoded.input_ids, encoded.loss_mask, tokenizer) == expected


@pytest.mark.parametrize(
    "answer", ["42", " leading space", "trailing space ", "line\n", "🙂", "<think>\n\n</think>\n\nOk"]
)
@pytest.mark.parametrize("name", _END_OF_TURN)
def test_answers_of_any_shape_are_learned_whole(name: str, answer: str, tokenizer: Any):
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    encoded = encode_turns([("user", "Hi"), ("assistant", answer)], _formatter(name, tokenizer))
    assert _spans(encoded.input_ids, encoded.loss_mask, tokenizer)[0] == answer + _END_OF_TURN[name]


@pytest.mark.parametrize("name", ["qwen", "chatml", "llama3", "gemma"])
def test_ids_are_those_of_the_stock_format(name: str, tokenizer: Any):
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    ours = encode_turns(_TURNS, _formatter(name, tokenizer))
    np.testing.assert_array_equal(ours.input_ids, _stock(name, tokenizer)["input_ids"])


@pytest.mark.parametrize("name", _END_OF_TURN)
def test_a_prompt_for_generation_is_the_beginning_of_the_training_text(name: str, tokenizer: Any):
    from nemo_vtb.parts.prompts.turn_mask import encode_turns, end_of_turn_id

    formatter = _formatter(name, tokenizer)
    prompt = encode_turns(_TURNS[:-1], formatter, for_generation=True)
    whole = encode_turns(_TURNS, formatter)
    texts = [tokenizer.ids_to_text(e.input_ids.tolist(), remove_special_tokens=False) for e in (prompt, whole)]
    assert texts[1].startswith(texts[0] + _ANSWERS[1])
    assert not prompt.loss_mask[len(encode_turns(_TURNS[:2], formatter).input_ids) :].any()
    assert tokenizer.ids_to_text([end_of_turn_id(formatter)], remove_special_tokens=False) == _END_OF_TURN[name]


@pytest.mark.parametrize("name", ["qwen", "gemma"])
def test_a_system_turn_is_folded_where_the_format_has_no_such_role(name: str, tokenizer: Any):
    from nemo_vtb.errors import VTBError
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    formatter = _formatter(name, tokenizer)
    folded = encode_turns([("system", "Be brief."), *_TURNS], formatter)
    by_hand = encode_turns([("user", f"Be brief.\n\n{_TURNS[0][1]}"), *_TURNS[1:]], formatter)
    np.testing.assert_array_equal(folded.input_ids, by_hand.input_ids)
    np.testing.assert_array_equal(folded.loss_mask, by_hand.loss_mask)
    with pytest.raises(VTBError, match="followed by a user turn"):
        encode_turns([("system", "Be brief."), ("assistant", "Yes.")], formatter)


@pytest.mark.parametrize("name", ["qwen3", "chatml", "llama3"])
def test_a_system_turn_stays_one_where_the_format_has_it(name: str, tokenizer: Any):
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    encoded = encode_turns([("system", "Be brief."), *_TURNS], _formatter(name, tokenizer))
    text = tokenizer.ids_to_text(encoded.input_ids.tolist(), remove_special_tokens=False)
    assert text.index("system") < text.index("Be brief.") < text.index(_END_OF_TURN[name]) < text.index(_TURNS[0][1])
    assert len(_spans(encoded.input_ids, encoded.loss_mask, tokenizer)) == 2
