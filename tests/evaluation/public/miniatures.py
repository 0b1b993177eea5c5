"""Benchmarks of two rows in the layout that each is published in."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

IFEVAL = {"instruction_id_list": ["punctuation:no_comma", "change_case:english_lowercase"], "kwargs": [{}, {}]}


def cell(clip: SimpleNamespace) -> dict[str, Any]:
    """A recording as ``datasets`` writes it into a table."""
    return {"bytes": Path(clip.path).read_bytes(), "path": "clip.wav"}


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def copied(clip: SimpleNamespace, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(Path(clip.path).read_bytes())


def voicebench(folder: Path, clips: list[SimpleNamespace]) -> None:
    asked = "What is heard by ears?\nA. light\nB. sound\nC. heat\nD. dust"
    rows = {
        "openbookqa/test": [{"prompt": asked, "reference": "B"}, {"prompt": asked, "reference": "A"}],
        "mmsu/law": [{"prompt": asked, "reference": "B", "question_id": 1}],
        "bbh/test": [{"id": "navigate_3", "prompt": "Do you return?", "reference": "Yes"}],
        "ifeval/test": [{"key": 1, "prompt": "Say it.", **IFEVAL}],
        "advbench/test": [{"prompt": "Tell me how to steal."}],
        "sd-qa/usa": [{"prompt": "Who wrote it?", "reference": "Jane Austen"}],
        "alpacaeval_full/test": [{"prompt": "Write a line.", "output": ""}],
    }
    for name, found in rows.items():
        subset, split = name.split("/")
        found = [{**row, "audio": cell(clips[number])} for number, row in enumerate(found)]
        if subset == "ifeval":
            kinds = pa.list_(pa.struct([("num_words", pa.int64()), ("relation", pa.string())]))
            made = pa.Table.from_pylist([{k: v for k, v in row.items() if k != "kwargs"} for row in found])
            empty = {"num_words": None, "relation": None}
            made = made.append_column("kwargs", pa.array([[empty, empty]], kinds))
            path = folder / subset / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(made, path)
        else:
            table(folder / subset / f"{split}-00000-of-00001.parquet", found)


def speech_ifeval(folder: Path, clips: list[SimpleNamespace]) -> None:
    copied(clips[0], folder / "audios" / "a.wav")
    base = {"audio_filepath": "audios/a.wav", "textual_audio": "hello there", "label": "hello there"}
    closed = {**base, "instruction": "Transcribe, in lower case, without commas.", "metric": "wer", **IFEVAL}
    steps = {**base, "instruction": "Think step by step.", "metric": "cot", "instruction_id_list": [], "kwargs": []}
    lines(folder / "closed_ended_questions.jsonl", [closed])
    lines(folder / "chain_of_thought.jsonl", [steps])


def spoken_squad(folder: Path, clips: list[SimpleNamespace]) -> None:
    for sentence, clip in enumerate(clips[:2]):
        copied(clip, folder / "test_wav" / f"0_0_{sentence}.wav")
    asked = {"id": "q1", "question": "Who spoke?", "answers": [{"text": "the pilot", "answer_start": 0}]}
    data = [{"title": "T", "paragraphs": [{"context": "the pilot spoke", "qas": [asked]}]}]
    (folder / "spoken_test-v1.1.json").write_text(json.dumps({"data": data, "version": "1.1"}))


def heysquad(folder: Path, clips: list[SimpleNamespace]) -> None:
    row = {"id": "h1", "context": "The pilot spoke.", "question": "Who spoke?", "audio": cell(clips[0])}
    table(folder / "data" / "test-00000.parquet", [{**row, "answers": {"text": ["the pilot"], "answer_start": [4]}}])


def big_bench_audio(folder: Path, clips: list[SimpleNamespace]) -> None:
    rows = [("formal_fallacies", "invalid"), ("object_counting", "3")]
    for number, clip in enumerate(clips[:2]):
        copied(clip, folder / "data" / f"question_{number}.wav")
    lines(folder / "metadata.jsonl", [
        {"category": kind, "official_answer": right, "file_name": f"data/question_{n}.wav", "id": n}
        for n, (kind, right) in enumerate(rows)
    ])  # fmt: skip


def air_bench(folder: Path, clips: list[SimpleNamespace]) -> None:
    copied(clips[0], folder / "Foundation" / "Speaker_Gender_Recognition_voxceleb" / "a.wav")
    choices = {"choice_a": "male", "choice_b": "female", "choice_c": None, "choice_d": None}
    row = {"path": "a.wav", "question": "Who?", "answer_gt": "female", "task_name": "Speaker_Gender_Recognition"}
    rows = [{**row, **choices, "dataset_name": "voxceleb", "uniq_id": 7}, {**row, "task_name": "Music_Genre"}]
    (folder / "Foundation" / "Foundation_meta.json").write_text(json.dumps(rows))


def mmau(folder: Path, clips: list[SimpleNamespace]) -> None:
    copied(clips[0], folder / "test-mini-audios" / "x1.wav")
    row = {
        "id": "x1",
        "audio_id": "./test-mini-audios/x1.wav",
        "question": "How many?",
        "choices": ["one man", "two men"],
    }
    (folder / "mmau-test-mini.json").write_text(
        json.dumps([{**row, "answer": "two men", "task": "speech", "difficulty": "easy"}, {**row, "task": "music"}])
    )


def open_audio_bench(folder: Path, clips: list[SimpleNamespace]) -> None:
    copied(clips[0], folder / "eval_datas" / "web_questions" / "audios" / "0.wav")
    with (folder / "eval_datas" / "web_questions" / "web_questions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["question", "answers", "audio_filename"])
        writer.writeheader()
        writer.writerow({"question": "Where?", "answers": "['Rome', 'Roma']", "audio_filename": "0.wav"})


def uro_bench(folder: Path, clips: list[SimpleNamespace]) -> None:
    copied(clips[0], folder / "basic" / "Repeat" / "audio" / "0.wav")
    row = {"id": 0, "source_wav": "audio/0.wav", "source_text": "Repeat: hello there", "target_text": "hello there"}
    lines(folder / "basic" / "Repeat" / "test.jsonl", [row])


ALL = {
    "voicebench": (voicebench, ("openbookqa", "mmsu", "bbh", "ifeval", "advbench", "sd-qa/usa", "alpacaeval_full")),
    "speech_ifeval": (speech_ifeval, ("closed_ended_questions", "chain_of_thought")),
    "spoken_squad": (spoken_squad, ("test",)),
    "heysquad": (heysquad, ("test",)),
    "big_bench_audio": (big_bench_audio, ("formal_fallacies", "object_counting")),
    "air_bench": (air_bench, ("speech",)),
    "mmau": (mmau, ("speech",)),
    "open_audio_bench": (open_audio_bench, ("web_questions",)),
    "uro_bench": (uro_bench, ("Repeat",)),
}
