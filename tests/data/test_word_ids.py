"""Ids from a memory of words are those of the tokenizer, and an index made of them is the same bytes."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nemo.collections.common.tokenizers import AutoTokenizer
from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from tokenizers.pre_tokenizers import ByteLevel, Metaspace, Sequence, Split
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.sources.source import read_source
from nemo_vtb.data.word_ids import WordIds, splits_at_words
from nemo_vtb.parts.prompts.turn_mask import encode_turns

CORPORA = Path(__file__).parents[2] / "examples" / "corpora"
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
PIECES = st.lists(
    st.sampled_from(
        [
            *" \n\t.,'\"-aZé3\u0301\u00a0\u200b\x1c你",
            " the",
            " cat",
            "I'm",
            "  ",
            "\n\n",
            " 42",
            ' "',
            " (",
            " <",
            "don't 5%",
            "<|im_end|>",
            "<|audio|>",
        ]
    )
)


def trained(before, normalizer=None):
    made = Tokenizer(BPE())
    made.pre_tokenizer, made.normalizer = before, normalizer
    lines = (CORPORA / "smollm2_chat/train.jsonl").read_text("utf-8").splitlines()[:200]
    made.train_from_iterator(lines, BpeTrainer(vocab_size=900, initial_alphabet=ByteLevel.alphabet()))
    made.add_special_tokens(["<|im_end|>", "<|audio|>"])
    return made


@pytest.fixture(scope="module")
def backends(tokenizer):
    split = Split(Regex(LLAMA_3), "isolated")
    return {
        "smollm2": tokenizer.tokenizer.backend_tokenizer,
        "gpt2": trained(ByteLevel(add_prefix_space=False)),
        "llama3": trained(Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)]), NFC()),
    }


@pytest.mark.parametrize("name", ["smollm2", "gpt2", "llama3"])
def test_ids_are_those_of_the_tokenizer(backends, name):
    backend = backends[name]
    assert splits_at_words(backend)
    words = WordIds(backend)

    @settings(max_examples=300, deadline=None)
    @given(st.one_of(st.text(max_size=40), PIECES.map("".join)))
    def same(text):
        assert words(text) == backend.encode(text, add_special_tokens=False).ids

    same()
    for line in (CORPORA / "smollm2_chat/train.jsonl").read_text("utf-8").splitlines()[:100]:
        for _ in range(2):
            assert words(line) == backend.encode(line, add_special_tokens=False).ids


@pytest.mark.parametrize("name", ["smollm2", "gpt2", "llama3"])
def test_turns_are_counted_as_they_are_encoded(backends, name, tmp_path):
    backend = backends[name]
    backend.add_special_tokens(["<|im_start|>"])
    PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<|im_end|>").save_pretrained(tmp_path)
    dataset = VTBDataset(AutoTokenizer(str(tmp_path)), "chatml", "<|audio|>")
    dataset.lengths([("user", "Hi"), ("assistant", "Hello.")])
    formatter = dataset._formatter()
    texts = st.one_of(st.text(max_size=20), PIECES.map("".join))
    by_words = []

    @settings(max_examples=200, deadline=None)
    @given(st.lists(texts, min_size=2, max_size=4))
    def same(said):
        turns = [(("user", "assistant")[n % 2], text) for n, text in enumerate(said)]
        counted = dataset.lengths(turns)
        encoded = encode_turns(turns, formatter)
        assert counted in (None, (len(encoded.input_ids), int(encoded.loss_mask.sum())))
        by_words.append(counted is not None and dataset._counted(turns) is not None)

    same()
    assert sum(by_words) > 5


def test_a_full_memory_begins_anew(backends, monkeypatch):
    monkeypatch.setattr("nemo_vtb.data.word_ids._KEPT", 3)
    words = WordIds(backends["smollm2"])
    text = "one two three four five six one two"
    assert words(text) == words(text) == backends["smollm2"].encode(text, add_special_tokens=False).ids


def test_tokenizers_that_join_across_words_are_left_alone():
    assert not splits_at_words(trained(Metaspace()))
    assert not splits_at_words(trained(ByteLevel(add_prefix_space=True)))
    assert not splits_at_words(trained(Sequence([Split(Regex(r"\s+"), "isolated"), ByteLevel(use_regex=False)])))
    swallowing = trained(ByteLevel(add_prefix_space=False))
    swallowing.add_tokens([AddedToken("<mask>", lstrip=True)])
    assert not splits_at_words(swallowing)
    phrase = trained(ByteLevel(add_prefix_space=False))
    phrase.add_tokens(["San Marino"])
    assert not splits_at_words(phrase)


@pytest.mark.parametrize("prompt_format", ["chatml", "auto", "llama2", "plain"])
def test_an_index_is_the_same_bytes_as_of_whole_texts(prompt_format, tokenizer, tmp_path, monkeypatch):
    chats = (CORPORA / "smollm2_chat/train.jsonl").read_text("utf-8").splitlines()[:40]
    asr = (CORPORA / "spoken_commands/manifest.jsonl").read_text("utf-8").splitlines()[:40]
    clips = [{**(row := json.loads(line)), "audio_filepath": str(CORPORA / "spoken_commands" / row["audio_filepath"])}
             for line in asr]  # fmt: skip
    found = []
    for place in ("words", "whole"):
        folder = tmp_path / place / "data"  # a row without an id is named after its folder
        folder.mkdir(parents=True)
        (folder / "text.jsonl").write_text("\n".join(chats))
        (folder / "asr.jsonl").write_text("\n".join(map(json.dumps, clips)))
        if place == "whole":
            monkeypatch.setattr("nemo_vtb.data.direct_ids.splits_at_words", lambda backend: False)
        dataset = VTBDataset(tokenizer, prompt_format, "<|audio|>")
        for kind, name in (("text", "text"), ("asr", "asr")):
            entry = {"type": "nemo"} if kind == "asr" else {}
            read_source(
                {**entry, "manifest_filepath": str(folder / f"{name}.jsonl")}, kind, "<|audio|>", 0.08, encoder=dataset
            )
        made = [p for p in sorted((folder / ".vtb_index").iterdir()) if p.suffix != ".lock"]
        found.append([_contents(place) for place in made])
    assert found[0] == found[1]
    assert all(rows for _, rows in found[0])


def _contents(index):
    header, _, rows = index.read_bytes().partition(b"\n")
    return json.loads(header)["digest"], rows
