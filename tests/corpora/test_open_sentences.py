"""The held-out open sentences that ``vtb eval`` asks: clips that are there, of sentences that no training holds."""

import json

import soundfile

from nemo_vtb.paths import corpora_dir


def _rows(name):
    text = (corpora_dir() / "open_sentences" / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_clips_are_as_their_rows_say_and_no_voice_of_training_speaks(script):
    rows, held_out = _rows("manifest.jsonl"), script("build_spoken_commands").HELD_OUT_VOICES
    assert len(rows) > 100 and {row["speaker"] for row in rows} == {f"kokoro:{voice}" for voice in held_out}
    assert {row["source"] for row in rows} <= set(script("build_open_sentences").SHIPPED_SOURCES)
    clips = {f"audio/{path.name}" for path in (corpora_dir() / "open_sentences" / "audio").iterdir()}
    assert clips == {row["audio_filepath"] for row in rows}
    for row in rows:
        info = soundfile.info(corpora_dir() / "open_sentences" / row["audio_filepath"])
        assert info.samplerate == 16_000 and abs(info.duration - row["duration"]) < 0.01


def test_no_shipped_text_that_is_trained_on_holds_them():
    sentences = {row["text"].lower() for row in _rows("manifest.jsonl")}
    for name in ("asterisk_prompts/manifest.jsonl", "spoken_commands/manifest.jsonl", "smollm2_chat/train.jsonl"):
        trained = (corpora_dir() / name).read_text(encoding="utf-8").lower()
        assert not [sentence for sentence in sentences if f'"{sentence}"' in trained]


def test_one_question_about_each():
    rows, questions = _rows("manifest.jsonl"), _rows("sqa.jsonl")
    asked = [turn for row in questions for turn in row["conversations"] if turn["type"] == "audio"]
    assert [(turn["value"], turn["text"]) for turn in asked] == [(row["audio_filepath"], row["text"]) for row in rows]
