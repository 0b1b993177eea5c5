"""A tokenizer's first merges, by its own library, say what its tokens are taken apart into."""

import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.prompts.shorter_tokens import ShorterTokens

_TEXTS = (
    " the quick brown fox jumps over thirteen lazy dogs",
    " Philosophers quarrel about consciousness; it's 12:45, isn't it?",
    " naïve Grüße an die Bürgermeisterin, Київ и Москва, 日本語, aaaaaaaaaaa mississippi",
)


def _with_merges(tokenizer, count):
    """The tokenizer's own library with the first merges alone."""
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    described["model"]["merges"] = described["model"]["merges"][:count]
    return Tokenizer.from_str(json.dumps(described))


@pytest.fixture(scope="module")
def smollm2_tokenizer(smollm2):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2)


@pytest.mark.parametrize("merges", [1, 100, 3000, 20_000])
def test_tokens_are_taken_apart_as_the_first_merges_write_the_text(smollm2_tokenizer, merges):
    shorter, first = ShorterTokens(smollm2_tokenizer, merges), _with_merges(smollm2_tokenizer, merges)
    for text in _TEXTS:
        whole = smollm2_tokenizer.encode(text, add_special_tokens=False)
        found = shorter(whole)
        assert found.tolist() == first.encode(text, add_special_tokens=False).ids
        assert smollm2_tokenizer.decode(found) == text
    assert len(found) > len(whole)


def test_a_token_that_two_merges_make_is_whole_if_the_earlier_one_is_used():
    vocabulary = {token: number for number, token in enumerate(["a", "b", "c", "ab", "bc", "abc"])}
    model = models.BPE(vocab=vocabulary, merges=[("a", "b"), ("ab", "c"), ("b", "c"), ("a", "bc")])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))
    abc = [vocabulary["abc"]]
    assert ShorterTokens(tokenizer, 2)(abc).tolist() == abc
    assert ShorterTokens(tokenizer, 1)(abc).tolist() == [vocabulary["ab"], vocabulary["c"]]


def test_all_merges_change_nothing(smollm2_tokenizer):
    ids = smollm2_tokenizer.encode(_TEXTS[1], add_special_tokens=False)
    assert ShorterTokens(smollm2_tokenizer, 10**6)(ids).tolist() == ids


def test_a_tokenizer_without_merges_is_refused():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(_TEXTS, trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"]))
    with pytest.raises(VTBError, match=r"model\.alignment\.merges=100: .* no fast BPE tokenizer .* leave the key out"):
        ShorterTokens(PreTrainedTokenizerFast(tokenizer_object=tokenizer), 100)
