from collections import Counter

import pytest

from nemo_vtb.data.conversations.prompt_pool import PromptPool, Wording, pick
from nemo_vtb.data.conversations.target_text import has_capitals, has_punctuation, without_punctuation
from nemo_vtb.data.files.rows import BadRow
from nemo_vtb.errors import VTBError
from nemo_vtb.paths import config_dir


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("Hello, world!", "Hello world"),
        ("Don't pay 3.5 dollars at 10:30 -- ever.", "Don't pay 3.5 dollars at 10:30 ever"),
        ("a twenty-one-year-old", "a twenty-one-year-old"),
        ("¿Qué? «Sí»", "Qué Sí"),
        ("是的。", "是的"),
        ("你好，「世界」！", "你好世界"),
        ("これは、テスト。 です", "これはテスト です"),
        ("我叫Tom，你呢？", "我叫Tom 你呢"),
        ("안녕, 세상.", "안녕 세상"),
        ("plain", "plain"),
    ],
)
def test_punctuation_goes_and_words_stay(text, bare):
    assert without_punctuation(text) == bare
    assert has_punctuation(text) == (text != bare)


def test_capitals_are_those_of_writing():
    assert has_capitals("Hello") and not has_capitals("hello") and not has_capitals("HELLO") and not has_capitals("是")


def test_shipped_pools_load_and_the_default_has_many_wordings():
    for file in (config_dir() / "prompts").glob("*.yaml"):
        PromptPool(file)
    pool = PromptPool()
    for source in ("en", "es", "zh"):
        looks = Counter((w.punctuation, w.capitals) for w in pool.wordings("asr", source))
        assert looks[True, True] >= 3 and looks[False, False] >= 3 and sum(looks.values()) >= 15
        assert len(pool.wordings("ast", source, "de")) >= 10


def test_the_answer_follows_the_wording():
    text = "Call Anna, please!"
    pool = PromptPool()
    answers = {w.answer(text) for w in pool.fitting("asr", text, "en")}
    assert answers == {text, "call anna please", "Call Anna please", "call anna, please!"}
    # Nothing can be added to a text that has neither.
    assert {w.answer("call anna please") for w in pool.fitting("asr", "call anna please", "en")} == {"call anna please"}
    assert not any(w.punctuation or w.capitals for w in pool.fitting("asr", "call anna please", "en"))


@pytest.mark.parametrize("text", ["...", "?!", "—"])
def test_a_transcript_without_a_word_is_learnt_as_it_is_or_refused_when_the_index_is_made(
    text, jsonl, clip, read, tmp_path
):
    entry = {"type": "nemo", "manifest_filepath": jsonl({"audio_filepath": str(clip.path), "text": text, "lang": "en"})}
    (draw,) = read("asr", **entry)
    assert {draw(epoch).turns[-1].value for epoch in range(100)} == {text}
    pool = tmp_path / "pool.yaml"
    pool.write_text("asr: {any: [{say: 'Write, no commas:', punctuation: false}]}\nast: {}\nlanguages: {}\n")
    with pytest.raises(BadRow, match="holds no word") as error:
        PromptPool(pool).fitting("asr", text, "en")
    assert error.value.reason == "nothing supervised"
    assert PromptPool(pool).fitting("asr", "", "en") and PromptPool(pool).fitting("asr", "50 %!", "en")


def test_draws_are_deterministic_and_even_over_epochs():
    wordings = [Wording(str(n)) for n in range(5)]
    drawn = Counter(pick(wordings, "asr", "sample", epoch).say for epoch in range(1000))
    assert drawn == Counter(pick(wordings, "asr", "sample", epoch).say for epoch in range(1000))
    assert min(drawn.values()) > 150
    assert len({pick(wordings, "asr", f"s{n}", 0).say for n in range(50)}) == 5


def test_spanish_wordings_use_spanish_names(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(
        "asr: {}\nast: {es: ['del {source} al {target}']}\nlanguages: {any: {en: English}, es: {en: inglés}}"
    )
    pool = PromptPool(path)
    assert [w.say for w in pool.wordings("ast", "en", "es")] == ["del inglés al español"]  # the second is Unicode's
    assert pool.wordings("ast", None, "es") == []
    with pytest.raises(BadRow, match="no asr wording for en"):
        pool.fitting("asr", "x", "en")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("asr: {}\nast: {}", "section 'languages' is missing"),
        ("asr: {any: [{say: x, upper: true}]}\nast: {}\nlanguages: {}", r"asr\.any\.upper"),
        ("asr: {any: [{capitals: true}]}\nast: {}\nlanguages: {}", r"asr\.any: a wording is a text"),
        ("asr: {any: ['{nobody}']}\nast: {}\nlanguages: {}", "names .'nobody'."),
        ("asr: {any: ['{source']}\nast: {}\nlanguages: {}", "odd brace"),
        ("asr: {any: [{say: x, capitals: sometimes}]}\nast: {}\nlanguages: {}", "must be true or false"),
        ("asr: {}\nast: {}\nlanguages: {en: English}", "tables of names"),
        ("[1, 2]", "has the sections"),
    ],
)
def test_a_pool_that_cannot_work_is_named(tmp_path, text, message):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(VTBError, match=message):
        PromptPool(path)


def test_an_unknown_pool_lists_the_shipped_ones():
    with pytest.raises(VTBError, match="shipped ones: default, quickstart"):
        PromptPool("nowhere")
