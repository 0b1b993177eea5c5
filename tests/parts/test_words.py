"""Words of a text are what a reader of its script takes for words."""

import pytest

from nemo_vtb.parts.words import characters_apart, split_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Cat, it’s 3.5 m!", ["the", "cat", "it", "s", "3", "5", "m"]),
        ("उस की किताब।", ["उस", "की", "किताब"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("cafe\u0301 noir", ["café", "noir"]),
        ("今天天气好，OK？", ["今", "天", "天", "气", "好", "ok"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("이것은 책이다.", ["이것은", "책이다"]),
        ("", []),
    ],
)
def test_words_are_those_of_the_script(text, words):
    found = split_words(text)
    assert "".join(found) == "".join(words)
    if "ท" not in text:
        assert found == words


def test_marks_may_stand_inside():
    assert split_words("It’s 3.5, don't.", inside=".,'") == ["it's", "3.5", "don't"]


def test_characters_are_set_apart_where_nothing_else_does():
    assert characters_apart("北京 is far").split() == ["北", "京", "is", "far"]
