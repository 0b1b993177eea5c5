"""The recorded prompts that travel in the repository, and the reader of their transcripts."""

import gzip
import importlib
import json
import random
import sys
from pathlib import Path

import pytest
import soundfile

CORPORA = Path(__file__).parents[2] / "examples" / "corpora"
CORPUS = CORPORA / "asterisk_prompts"


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return [json.loads(line) for line in (CORPUS / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def build():
    sys.path.insert(0, str(CORPORA))
    yield importlib.import_module("build_asterisk_prompts")
    sys.path.remove(str(CORPORA))


def test_every_clip_is_readable_at_16_khz(rows):
    for row in rows:
        info = soundfile.info(CORPUS / row["audio_filepath"])
        assert (info.samplerate, info.channels) == (16_000, 1), row["audio_filepath"]
        assert (row["duration"] > 30.0) == (row["split"] == "long")


def test_every_clip_has_one_row(rows):
    clips = [row["audio_filepath"] for row in rows]
    assert sorted(clips) == sorted(str(path.relative_to(CORPUS)) for path in CORPUS.rglob("*.ogg"))


def test_durations_agree_with_the_decoded_audio(rows):
    for row in random.Random(0).sample(rows, 40):
        audio, rate = soundfile.read(CORPUS / row["audio_filepath"])
        assert len(audio) / rate == pytest.approx(row["duration"], abs=0.05), row["audio_filepath"]
        assert 0.4 < abs(audio).max() <= 1.0


def test_five_languages_with_sentences_of_four_words(rows, build):
    assert {row["lang"] for row in rows} == {"en", "es", "fr", "it", "ru"}
    assert sum(len(build.word_list(row["text"])) >= 4 for row in rows) >= 1_157
    assert not [row["text"] for row in rows if not row["text"].strip() or set(row["text"]) & set("[]<>()#*")]


def test_no_key_and_no_sentence_stands_in_two_splits(rows, build):
    split_of: dict[tuple, str] = {}
    rows = [row for row in rows if row["split"] != "long"]
    for row in rows:
        for name in (("key", row["key"]), (row["lang"], *build.word_list(row["text"]))):
            assert split_of.setdefault(name, row["split"]) == row["split"], name
    shares = {split: sum(row["split"] == split for row in rows) / len(rows) for split in ("train", "dev", "test")}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares == pytest.approx({"train": 0.80, "dev": 0.08, "test": 0.12}, abs=0.06)


def test_most_english_sentences_have_their_counterparts(rows):
    keys = {lang: {row["key"] for row in rows if row["lang"] == lang} for lang in ("en", "es", "fr", "it", "ru")}
    assert len(set.intersection(*keys.values())) >= 200


def test_whole_corpus_is_at_most_30_mb():
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) <= 30e6


def test_transcript_reader_splits_packed_lines_and_drops_notes(build, tmp_path):
    path = tmp_path / "core-sounds.txt.gz"
    lines = [
        "; comment: not a prompt",
        "vm-gone: E' stato  [appena] eliminato... vm-pound: poi premere (beep)",
        "vm-pound: altro testo",
        "vm-Case: ora sei dentro",
        "unrecorded: nessun audio",
    ]
    path.write_bytes(gzip.compress("\n".join(lines).encode("utf-8-sig")))
    texts = build.read_transcripts(path, {"vm-gone", "vm-pound", "vm-case"}, {"e'": "è"})
    assert texts == {
        "vm-gone": "È stato eliminato",
        "vm-pound": "poi premere",
        "vm-case": "ora sei dentro",
        "unrecorded": "nessun audio",
    }


def test_near_duplicates_share_a_split(build):
    stem = "press {} to lower the volume of this very long conference call".split()
    texts = {"en": {f"key-{n}": " ".join(stem).format(n) for n in range(20)}}
    texts["en"] |= {f"other-{n}": f"{n} {n + 1} {n + 2} {n + 3} {n + 4}" for n in range(0, 500, 5)}
    splits = build.split_by_key(texts, list(texts["en"]))
    assert len({splits[f"key-{n}"] for n in range(20)}) == 1
    assert set(splits.values()) == {"train", "dev", "test"}


def test_correction_of_a_changed_transcript_names_the_row(build, tmp_path):
    path = tmp_path / "corrections.jsonl"
    path.write_text('{"lang": "en", "key": "k", "was": "one", "text": "two"}\n')
    texts = {"en": {"k": "one"}}
    build.correct(texts, path)
    assert texts == {"en": {"k": "two"}}
    with pytest.raises(build.VTBError, match=r"corrections.jsonl:1: the transcript of k"):
        build.correct(texts, path)
