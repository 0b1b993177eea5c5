"""Corpora of a few recordings in the layout that each is published in."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import soundfile

Clips = list[SimpleNamespace]


def heard(clip: SimpleNamespace) -> np.ndarray:
    samples, rate = soundfile.read(clip.path, dtype="float32")
    assert rate == 16000
    return samples


def written(path: Path, samples: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16000, **options)


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def librispeech(root: Path, clips: Clips) -> None:
    for part in ("train-clean-100", "test-clean", "test-other"):
        folder = root / "LibriSpeech" / part / "19" / "198"
        for number, clip in enumerate(clips[:2]):
            written(folder / f"19-198-{number:04}.flac", heard(clip))
        text(folder / "19-198.trans.txt", *(f"19-198-{n:04} {c.text.upper()}" for n, c in enumerate(clips[:2])))


def mls(root: Path, clips: Clips) -> None:
    for language in ("german", "spanish"):
        folder = root / f"mls_{language}"
        text(folder / "metainfo.txt", " SPEAKER | GENDER | PARTITION", " 10 | F | train")
        for split in ("train", "dev", "test"):
            name = "10_20_000001"
            written(folder / split / "audio" / "10" / "20" / f"{name}.flac", heard(clips[0]))
            text(folder / split / "transcripts.txt", f"{name}\t{clips[0].text.lower()}")


def common_voice(root: Path, clips: Clips) -> None:
    names = "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender accents variant "
    names += "locale segment"
    for split, clip in zip(("train", "dev", "test"), clips, strict=False):
        name = f"common_voice_en_{split}.mp3"
        written(root / "en" / "clips" / name, heard(clip), format="MP3")
        fields = ["c1", name, "s1", clip.text, "", "2", "0", "", "", "", "", "en", ""]
        text(root / "en" / f"{split}.tsv", "\t".join(names.split()), "\t".join(fields))


def covost2(root: Path, clips: Clips) -> None:
    common_voice(root, clips)
    for split, clip in zip(("train", "dev", "test"), clips, strict=False):
        row = f"common_voice_en_{split}.mp3\t{clip.text}\tGuten Tag.\tc1"
        text(root / "en" / f"covost_v2.en_de.{split}.tsv", "path\tsentence\ttranslation\tclient_id", row)


def fleurs(root: Path, clips: Clips) -> None:
    for language in ("de_de", "en_us"):
        for split in ("train", "dev", "test"):
            samples = heard(clips[0])
            written(root / language / split / "7000.wav", samples)
            fields = ["1", "7000.wav", "Raw.", clips[0].text.lower(), "r a w |", str(len(samples)), "FEMALE"]
            text(root / "metadata" / language / f"{split}.tsv", "\t".join(fields))


def voxpopuli(root: Path, clips: Clips) -> None:
    folder = root / "transcribed_data" / "en"
    names = "id raw_text normalized_text speaker_id split gender is_gold_transcript accent".split()
    for split in ("train", "dev", "test"):
        name = f"20180702-0900-PLENARY-15-en_{split}_1"
        path = folder / "2018" / f"{name}.ogg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Path(clips[0].path).read_bytes())
        row = [name, clips[0].text, clips[0].text.lower(), "1", split, "male", "True", "None"]
        text(folder / f"asr_{split}.tsv", "\t".join(names), "\t".join(row))


def gigaspeech(root: Path, clips: Clips) -> None:
    long = np.concatenate([heard(clip) for clip in clips[:2]])
    written(root / "audio" / "podcast" / "P0000" / "POD0000000001.opus", long, format="OGG", subtype="OPUS")
    first = round(len(heard(clips[0])) / 16000, 2)
    shared = {"speaker": "N/A", "subsets": ["{XL}", "{L}"]}
    segments = [
        {"sid": "S1", "begin_time": 0.0, "end_time": first, "text_tn": "GOOD MORNING <COMMA> ALL <PERIOD>", **shared},
        {"sid": "S2", "begin_time": first, "end_time": first + 0.5, "text_tn": "<SIL>", **shared},
        {
            "sid": "S3",
            "begin_time": first,
            "end_time": first + 0.5,
            "text_tn": "YES",
            "speaker": "",
            "subsets": ["{TEST}"],
        },
    ]
    audio = {"aid": "POD0000000001", "path": "audio/podcast/P0000/POD0000000001.opus", "segments": segments}
    (root / "GigaSpeech.json").write_text(json.dumps({"dataset": "GigaSpeech", "audios": [audio]}))


def europarl_st(root: Path, clips: Clips) -> None:
    written(root / "v1.1" / "en" / "audios" / "en.20081117.1.3-015.wav", np.concatenate([heard(c) for c in clips[:2]]))
    for split in ("train", "valid", "test"):
        folder = root / "v1.1" / "en" / "de" / split
        text(folder / "segments.lst", "en.20081117.1.3-015 0.0 0.7", "en.20081117.1.3-015 0.7 1.4")
        text(folder / "segments.en", "Mr President.", "I agree.")
        text(folder / "segments.de", "Herr Präsident.", "Ich stimme zu.")


def slurp(root: Path, clips: Clips) -> None:
    for split in ("train", "devel", "test"):
        written(root / "audio" / "slurp_real" / f"audio-{split}.flac", heard(clips[0]))
        row = {
            "slurp_id": 1,
            "sentence": "set a meeting",
            "scenario": "calendar",
            "action": "set",
            "intent": "calendar_set",
        }
        recordings = [{"file": f"audio-{split}.flac", "wer": 0.0, "ent_wer": 0.0, "status": "correct"}]
        text(root / "dataset" / "slurp" / f"{split}.jsonl", json.dumps({**row, "recordings": recordings}))


def spoken_squad(root: Path, clips: Clips) -> None:
    for split in ("train", "test"):
        for sentence, clip in enumerate(clips[:2]):
            written(root / f"{split}_wav" / f"0_0_{sentence}.wav", heard(clip))
        asked = {"id": f"q-{split}", "question": "Who spoke?", "answers": [{"text": "the pilot", "answer_start": 0}]}
        data = [{"title": "T", "paragraphs": [{"context": "the pilot spoke", "qas": [asked]}]}]
        (root / f"spoken_{split}-v1.1.json").write_text(json.dumps({"data": data, "version": "1.1"}))


MESSAGES = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello to you."}]
TURNS = [{"from": "human", "value": "Hello."}, {"from": "gpt", "value": "Hello to you."}]


def _table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def ultrachat(root: Path, clips: Clips) -> None:
    row = {"prompt": "Hello.", "prompt_id": "p1", "messages": MESSAGES}
    _table(root / "data" / "train_sft-00000-of-00001.parquet", [row])
    _table(root / "data" / "test_sft-00000-of-00001.parquet", [{**row, "messages": [*MESSAGES, MESSAGES[0]]}])


def openhermes(root: Path, clips: Clips) -> None:
    (root / "openhermes2_5.json").write_text(json.dumps([{"id": "a", "source": "x", "conversations": TURNS}]))


def magpie(root: Path, clips: Clips) -> None:
    row = {"uuid": "u1", "conversations": TURNS, "instruction": "Hello.", "response": "Hello to you."}
    _table(root / "data" / "train-00000-of-00001.parquet", [row])


def tulu(root: Path, clips: Clips) -> None:
    _table(root / "data" / "train-00000-of-00001.parquet", [{"id": "t1", "messages": MESSAGES, "source": "x"}])


ALL = {
    make.__name__: make
    for make in (
        *(librispeech, mls, common_voice, fleurs, voxpopuli, gigaspeech, covost2, europarl_st, slurp, spoken_squad),
        *(ultrachat, openhermes, magpie, tulu),
    )
}
