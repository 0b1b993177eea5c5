"""Ids straight from the fast tokenizer are those of NeMo's wrapper."""

import pickle

import pytest

from nemo_vtb.data.direct_ids import DirectIds, direct_ids


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Hello there",
        "<|im_start|>user\nHi<|im_end|>\n",
        "a <|audio|> b",
        "  zwei  Räume ",
        "naïve 你好 🙂\u0301",
        "\n\n\t",
    ],
)
def test_ids_are_those_of_the_wrapper(tokenizer, text):
    direct = pickle.loads(pickle.dumps(direct_ids(tokenizer)))  # noqa: S301 - made here; workers may be spawned
    assert isinstance(direct, DirectIds)
    assert direct.text_to_ids(text) == tokenizer.text_to_ids(text)
    assert direct.eos == tokenizer.eos and direct.token_to_id("<|audio|>") == tokenizer.token_to_id("<|audio|>")


def test_a_tokenizer_that_does_more_is_left_alone(tokenizer):
    from copy import copy

    adding = copy(tokenizer)
    adding.include_special_tokens = True
    assert direct_ids(adding) is adding
    assert direct_ids("no wrapper") == "no wrapper"
