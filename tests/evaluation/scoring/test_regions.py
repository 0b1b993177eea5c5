"""A language is scored by what it is, whatever region or script its tag names."""

import json

import pytest

from nemo_vtb.data.sources.source import Reading
from nemo_vtb.evaluation.items import Item, measures
from nemo_vtb.evaluation.sets.plan import read_plan


@pytest.fixture
def heard(tmp_path, clip):
    """What was said of one clip, as an item of a set; more sets may follow from the same file."""

    def item(kind, said, **row):
        path = tmp_path / "rows.jsonl"
        row = {"audio_filepath": str(clip.path), "duration": clip.duration, "id": "one", **row}
        path.write_text(json.dumps(row) + "\n", encoding="utf-8")
        entry = {"kind": kind, "type": "nemo", "manifest_filepath": str(path), "probe": True}
        (part,) = read_plan({"sets": {"mine": entry}}, Reading("<|audio|>", 0.08)).questions
        return Item(part, part.tasks[0], {"tuned": said, "base": said})

    return item


@pytest.mark.parametrize("tag", ["en", "en-US", "en_us", "eng", "English"])
def test_english_of_any_region_has_the_english_normaliser(heard, tag):
    item = heard("asr", "It's 21 degrees", text="it is twenty-one degrees", lang=tag)
    wer, about = measures([item], "tuned")["wer"]
    assert item.language == "en" and wer.value == 0.0 and about["normaliser"] == "EnglishTextNormalizer"


@pytest.mark.parametrize("tag", ["zh", "zh-CN", "cmn_hans_cn"])
def test_chinese_of_any_region_is_counted_by_character(heard, tag):
    wer, _ = measures([heard("asr", "今天天气不好", text="今天天气很好", lang=tag)], "tuned")["wer"]
    assert wer.value == pytest.approx(1 / 6)


def test_a_translation_into_a_region_has_the_tokenizer_of_its_language(heard):
    item = heard(
        "ast", "今天天气很好。", text="Nice weather.", lang="en-GB", target_lang="zh-CN", answer="今天天气很好。"
    )
    bleu, about = measures([item], "tuned")["bleu"]
    assert item.language == "en-zh" and "tok:zh" in about["signature"] and bleu.value == pytest.approx(100)
