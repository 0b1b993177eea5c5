"""Pairs of question and answer about recordings in languages without spaces are looked at by character."""

from nemo_vtb.synthesis.qa.filters import agree, pair_fault, words
from nemo_vtb.synthesis.qa.options import QAFilters
from nemo_vtb.synthesis.qa.prompts import Pair, QAPrompt

FILTERS = QAFilters([3, 30], [1, 40], 0.6, 0.9, False)
PROMPT = QAPrompt("1", "", "", [])
SAID = "明天上午我们要坐火车去上海参加一个关于语音识别的会议"


def test_a_chinese_transcript_has_as_many_words_as_characters():
    assert len(words(SAID)) == len(SAID)


def test_an_answer_out_of_a_chinese_transcript_is_supported():
    assert pair_fault(Pair("他们明天要去哪里？", "上海"), SAID, "zh", PROMPT, FILTERS) is None
    assert pair_fault(Pair("他们明天要去哪里？", "北极圈内部"), SAID, "zh", PROMPT, FILTERS) == "answer.unsupported"


def test_answers_that_say_the_same_agree():
    assert agree("上海", "去上海") and not agree("上海", "广州")
    assert not agree("की", "का")
