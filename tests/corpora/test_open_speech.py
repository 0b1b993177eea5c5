"""What the reference run's speech is made with: questions that code can check, rooms and noise that repeat."""

import json
import re
from random import Random

import numpy as np
import soundfile

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.sources.source import read_source

SENTENCES = [
    "I honestly don't know where he went.",
    "Is that a big deal for you?",
    "The quick brown fox.",
    "My uncle brought 2 cats into it.",
]


def test_answers_follow_from_the_sentence(script):
    ask, rng = script("asked.open_questions").open_question, Random(0)
    kinds = set()
    for sentence in SENTENCES * 60:
        question, answer = ask(sentence, SENTENCES, rng)
        said = sentence.lower().rstrip(".?")
        about = re.search(r"'(.+)'", question)
        if answer in ("yes", "no") and about is None:
            kinds.add("asks")
            assert (answer == "yes") == sentence.endswith("?")
        elif answer in ("yes", "no"):
            kinds.add(answer)
            assert (answer == "yes") == (about[1] in said.split())
        elif about is None:
            kinds.add("ends")
            assert answer == said.split()[0 if "first" in question else -1]
        else:
            kinds.add("inside")
            assert f"{about[1]} {answer}" in said or f"{answer} {about[1]}" in said
    assert kinds == {"asks", "yes", "no", "ends", "inside"}


def test_one_sentence_of_ones_own_can_be_asked_about_and_one_without_words_is_not(script):
    rows = [
        {"audio_filepath": f"{n}.flac", "duration": 1.0, "text": text, "split": "train_open"}
        for n, text in enumerate(("The quick brown fox.", "...!"))
    ]
    for seed in range(30):
        (row,) = script("asked.open_questions").question_rows(rows, seed)
        assert row["id"] == "open/0" and row["conversations"][-1]["value"]


def test_a_clip_of_other_words_has_another_name(script):
    plan = script("build_open_speech").plan
    names = [{row["audio_filepath"] for row in plan(sentences, 0)} for sentences in (SENTENCES, SENTENCES[::-1])]
    assert names[0] == {row["audio_filepath"] for row in plan(SENTENCES, 0)} and not names[0] & names[1]


def test_a_short_list_of_ones_own_is_trained_on_too(script):
    splits = [row["split"] for row in script("build_open_speech").plan(SENTENCES * 5, 0)]
    assert splits == ["train_open"] * 18 + ["dev"] * 2
    assert all(row["split"] == "train_broad" for row in script("build_open_speech").plan(SENTENCES, 0, "broad"))


def test_rows_say_how_a_clip_was_made_and_nothing_that_a_reader_warns_of(script, tmp_path, clips, tokenizer, caplog):
    rows = script("build_open_speech").plan(SENTENCES * 100, 0)
    for row in rows:
        row |= {"audio_filepath": str(clips[0].path), "duration": clips[0].duration}
    assert {key for row in rows for key in row["custom"]} == {"pitch", "room", "noise", "snr"}
    path = tmp_path / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    entry = {"type": "nemo", "manifest_filepath": str(path)}
    read_source(entry, "asr", "<|audio|>", 0.08, encoder=VTBDataset(tokenizer, "qwen"))
    assert "nothing reads" not in caplog.text


def test_a_room_and_noise_repeat_and_change_no_length(script, clips, tmp_path):
    rooms = script("rooms")
    audio = soundfile.read(clips[0].path, dtype="float32")[0]
    noise = np.random.default_rng(0).standard_normal(8000) * 0.1
    soundfile.write(tmp_path / "hum.flac", noise, rooms.SAMPLE_RATE)
    assert rooms.in_room(audio, {}, tmp_path) is audio
    for row in ({"room": 3}, {"noise": "hum.flac", "snr": 6.0}):
        first, again = (rooms.in_room(audio, row, tmp_path) for _ in range(2))
        assert np.array_equal(first, again) and first.shape == audio.shape and not np.array_equal(first, audio)
    drawn = [rooms.drawn_room(Random(seed)) for seed in range(400)]
    assert 0.15 < sum("room" in row for row in drawn) / 400 < 0.35
    assert all(6 <= row["snr"] <= 24 for row in drawn if "noise" in row)
