"""Sentences and lists that are chosen for their words: what is rare is said, what is said or unknown is not."""

import json
from collections import Counter
from pathlib import Path

import pytest

COMMON = "I like the sea."
TEXTS = {
    "gsm8k": [{"question": "Tom has two red apples. Tom had no apples."}],
    "banking77": [{"input": [{"role": "user", "content": "Where is my red card?"}]}],
    "wikipedia": [{"0": "The river is my card. Tom had the river."}],
    "webtext": [{"0": "Nobody had two apples."}],
}
CHATS = [COMMON, "I like the sea too, Tom.", "I lkie the sea.", "The sea had no river too."]
TOKENS = ["Ġriver", "Ġsea", "Ġquill", "ĠLantern", "Ġorchard", "uncounted", "Ġtsk", "Ġof", "Ġ123", "▁pebble"]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """The asset's files, with a dozen sentences."""
    messages = [[{"text": text}] for text in CHATS]
    (tmp_path / "chitchat.json").write_text(json.dumps({"0": {"messages": messages}}))
    for name, rows in TEXTS.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_rare_words_are_said_and_what_is_spoken_or_held_out_is_not_said_again(script, texts):
    choose = script("said.broad_sentences").broad_sentences
    chosen = choose(texts, [COMMON], TOKENS, 99, seed=0)
    assert chosen == choose(texts, [COMMON], reversed(TOKENS), 99, seed=0), "by its seed alone"
    assert len(set(chosen)) == len(chosen) and COMMON not in chosen
    assert "Nobody had two apples." not in chosen, "the licence of web pages is unknown"
    assert "I lkie the sea." not in chosen, "a slip of the pen"
    words = Counter(word.strip(".?,").lower() for sentence in chosen for word in sentence.split())
    assert {"tom", "apples", "card", "river", "too"} <= set(words)
    assert all(words[word] == 1 for word in ("quill", "lantern", "orchard", "pebble")), "in a list"
    assert not {"uncounted", "tsk", "of", "123"} & set(words), "no beginning of a word, no word to say, or too short"


def test_a_smaller_count_keeps_the_lists_first(script, texts):
    chosen = script("said.broad_sentences").broad_sentences(texts, [COMMON], TOKENS, 1, seed=0)
    assert len(chosen) == 1 and chosen[0].count(",") >= 3
