"""Scores of languages that English rules would miscount."""

import pytest

from nemo_vtb.evaluation.public.rules import RULES
from nemo_vtb.evaluation.scoring.metrics import character_errors, squad_exact, squad_f1, word_errors
from nemo_vtb.evaluation.scoring.translation import translation_scores
from nemo_vtb.evaluation.sets.instructions import follows


def test_a_wrong_vowel_sign_is_a_wrong_word():
    assert word_errors(["उस की किताब"], ["उस का किताब"], "hi").items.tolist() == [[1, 3]]
    assert character_errors(["की"], ["का"], "hi").value > 0
    assert word_errors(["தமிழ் மொழி"], ["தமிழ் மொழி."], "ta").items.tolist() == [[0, 2]]


def test_points_that_may_be_left_out_are_no_errors():
    assert word_errors(["محمد"], ["مُحَمَّد"], "ar").items.tolist() == [[0, 1]]
    assert word_errors(["שלום"], ["שָׁלוֹם"], "he").items.tolist() == [[0, 1]]


@pytest.mark.parametrize("reference", ["北京", "2008", "Zürich"])
@pytest.mark.parametrize("answer", ["{}。", "«{}»", "“{}”!", "{}"])
def test_punctuation_of_no_language_makes_an_answer_wrong(reference, answer):
    assert squad_exact([[reference]], [answer.format(reference)]).value == 1.0


def test_chinese_answers_are_compared_by_character():
    assert squad_f1([["北京市"]], ["北京"]).value == pytest.approx(0.8)
    assert squad_exact([["２０"]], ["20"]).value == 1.0
    assert RULES["alias"].mark("答案是北京。", {"answers": ["北京"]}) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("check", "reply", "right"),
    [
        ({"type": "contains", "any": ["北京"]}, "答案是北京。", True),
        ({"type": "lacks", "any": ["北京"]}, "答案是北京。", False),
        ({"type": "choice", "answer": "东京", "options": ["北京", "东京"]}, "应该是东京，不是北京。", True),
        ({"type": "words", "at_least": 5}, "今天天气很好", True),
        ({"type": "exact", "answer": "का"}, "की", False),
        ({"type": "exact", "answer": "café"}, "cafe\u0301", True),
        ({"type": "contains", "any": ["don't"]}, "I don’t know.", True),
        ({"type": "number", "answer": -5}, "It is −5.", True),
        ({"type": "number", "answer": -5}, "It is -5.", True),
        ({"type": "number", "answer": 12}, "Read pages 10-12.", True),
        ({"type": "number", "answer": 1000}, "1\u202f000", True),
        ({"type": "number", "answer": 3}, "x=3", True),
    ],
)
def test_checks_read_replies_of_any_script(check, reply, right):
    assert follows(reply, check) is right


@pytest.mark.parametrize(("target", "tokenizer"), [("th", "char"), ("my", "char"), ("yue", "zh"), ("es", "13a")])
def test_bleu_of_languages_without_spaces_is_of_their_characters(target, tokenizer):
    reference, answer = "วันนี้อากาศดีมาก", "วันนี้อากาศดี"
    bleu, signature = translation_scores([reference], [answer], target)["bleu"]
    assert f"tok:{tokenizer}" in signature and (bleu.value > 50 or tokenizer in ("13a", "zh"))
