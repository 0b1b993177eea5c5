"""Lists of the words that people write most and that are spoken too seldom."""

import json
from collections import Counter
from pathlib import Path

import pytest

SPOKEN = ["The red river is the end of it."] * 12
HELD_OUT = "Nobody had a zebra in Paris."
CHATS = [
    *["We saw an orchard near Paris and the red river."] * 4,
    *["My orchard feeds nobody we know, does it?"] * 3,
    "One quill is lost, and my orchard with it.",
    HELD_OUT,
]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """The asset's files; a sentence counts once, however often it stands there, so each has its number."""
    messages = [[{"text": text.replace("We ", f"Number {n}, we ")}] for n, text in enumerate(CHATS)]
    messages += [[{"text": text.replace("My", f"Then {n} my")}] for n, text in enumerate(CHATS)]
    (tmp_path / "chitchat.json").write_text(json.dumps({"0": {"messages": messages}}))
    for name in ("gsm8k", "banking77", "wikipedia", "webtext"):
        (tmp_path / f"{name}.jsonl").write_text("")
    return tmp_path


def test_what_is_written_often_and_said_seldom_is_listed_as_often_as_is_missing(script, texts):
    lists = script("said.word_lists").word_lists
    made = lists(texts, SPOKEN, [HELD_OUT], 999, seed=0)
    assert made == lists(texts, SPOKEN, [HELD_OUT], 999, seed=0)
    assert all(line[0].isupper() and line.endswith(".") for line in made)
    words = Counter(word for line in made for word in line.rstrip(".").split())
    times = Counter(word.lower() for line in made for word in line.rstrip(".").split())
    assert times["orchard"] == times["paris"] == 12, "never said"
    assert "paris" not in words and words["Paris"] == 12, "as people write it"
    assert not {"the", "red", "river", "it"} & set(times), "said twelve times"
    assert not {"quill", "zebra"} & set(times), "written once, or only in what is held out"
    for line in made:
        said = line.lower().rstrip(".").split()
        assert len(set(said)) == len(said)


def test_a_small_count_takes_the_most_written_words(script, texts):
    assert script("said.word_lists").word_lists(texts, SPOKEN, [HELD_OUT], 1, seed=0) == ["Orchard."]
