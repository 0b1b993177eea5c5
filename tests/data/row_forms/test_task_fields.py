"""Manifests that say what each row was made for, as Canary's do: a translation is no transcript, ``na`` no answer."""

import pytest

from nemo_vtb.cli import main
from nemo_vtb.data.files.rows import REMEDIES, BadRows


def row(clip, **fields):
    return {"audio_filepath": str(clip.path), "text": "Hello.", "source_lang": "en", "target_lang": "en", **fields}


def reasons(read, kind, path, **entry):
    bad = BadRows(1.0)
    draws = read(kind, bad, type="nemo", manifest_filepath=path, **entry)
    assert set(bad.reasons) <= set(REMEDIES)
    return draws, dict(bad.reasons)


def test_a_manifest_of_canary_read_as_recognition_names_its_translations(jsonl, clip, capsys):
    path = jsonl(
        row(clip, taskname="asr", answer="na"),
        row(clip, taskname="s2t_translation", target_lang="de", text="Hallo."),
    )
    assert main(["data", "lint", path, "--kind=asr", "--type=nemo", "--processes=1"]) == 1
    out = capsys.readouterr().out
    assert f"{path}:2: error: another task: 'taskname' is 's2t_translation'" in out and "only: {taskname: asr}" in out
    assert f"{path}:1: error" not in out
    assert main(["data", "lint", path, "--kind=asr", "--type=nemo", "only.taskname=asr", "--processes=1"]) == 0


@pytest.mark.parametrize(
    ("kind", "fields", "refused"),
    [
        ("asr", {"target_lang": "de", "text": "Hallo."}, True),
        ("asr", {"target_lang": "de", "text": "Hallo.", "answer": "na"}, True),
        ("align", {"target_lang": "de", "text": "Hallo."}, True),
        ("asr", {"target_lang": None, "task": "translate"}, True),
        ("asr", {"taskname": "ast"}, True),
        ("asr", {"target_lang": "en-GB", "taskname": "asr"}, False),
        ("asr", {"source_lang": "eng", "taskname": "broadcast"}, False),
        # A transcript beside its translation.
        ("asr", {"target_lang": "de", "taskname": "ast", "answer": "Hallo."}, False),
        ("asr", {"target_lang": "de", "translation": "Hallo."}, False),
        ("asr", {"target_lang": "de", "text": "Taxi", "translation": "Taxi"}, False),
        ("ast", {"target_lang": "de", "translation": "Hallo."}, False),
        ("ast", {"taskname": "asr", "answer": "Hello.", "text": None}, True),
        ("ast", {"target_lang": "EN", "answer": "Hello.", "text": None}, True),
        ("ast", {"source_lang": "de-CH", "target_lang": "de-DE", "answer": "Hallo.", "text": None}, False),
        ("ast", {"source_lang": None, "lang": "de", "target_lang": "de", "answer": "Hallo.", "text": None}, False),
    ],
)
def test_each_task_is_a_kind_of_its_own(jsonl, clip, read, kind, fields, refused):
    draws, found = reasons(read, kind, jsonl(row(clip, **fields)))
    assert found == ({"another task": 1} if refused else {}) and len(draws) == (not refused)


def test_a_translation_under_text_is_read_where_the_source_says_so(jsonl, clip, read):
    path = jsonl(row(clip, target_lang="de", text="Hallo.", answer="na", taskname="s2t_translation"))
    assert reasons(read, "ast", path)[1] == {"nothing supervised": 1}
    draws, found = reasons(read, "ast", path, text_field="text")
    assert not found and draws[0](0).turns[-1].value == "Hallo."


def test_na_is_no_answer_beside_a_text(jsonl, clip, read):
    asked = {"question": "Is it so?", "answer": "na"}
    assert reasons(read, "sqa", jsonl(row(clip, **asked)))[1] == {"nothing supervised": 1}
    draws, found = reasons(read, "sqa", jsonl(row(clip, **asked, text=None)))
    assert not found and draws[0](0).turns[-1].value == "na"


@pytest.mark.parametrize("kind", ["asr", "align", "ast"])
def test_nobody_speaks_the_white_space_around_a_transcript(jsonl, clip, read, kind):
    fields = {"target_lang": "de", "translation": " Hallo.\r\n"} if kind == "ast" else {}
    draws, found = reasons(read, kind, jsonl(row(clip, text="  Hello.\r\n", **fields)))
    turns = draws[0](0).turns
    said = turns[0].text if kind == "align" else turns[-1].value
    assert not found and said == said.strip() and said.lower().startswith(("hello", "hallo"))


def test_two_translations_of_one_clip_are_refused(jsonl, clip, read):
    path = jsonl(row(clip, target_lang="de", answer="Hallo.", translation="Bonjour."))
    assert reasons(read, "ast", path)[1] == {"contradiction": 1}
    draws, found = reasons(read, "ast", path, text_field="translation")
    assert not found and "bonjour" in draws[0](0).turns[-1].value.lower()
    same = jsonl(row(clip, target_lang="de", answer="Hallo.", translation=" Hallo. "))
    assert not reasons(read, "ast", same)[1]
