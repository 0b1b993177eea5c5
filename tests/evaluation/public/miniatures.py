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
    copied(clips[0], folder / "audios" / "Automatic_speech_recognition" / "a.wav")
    base = {"audio_filepath": "Automatic_speech_recognition/a.wav", "dataset": "Automatic_speech_recognition"}
    base |= {"textual_audio": "[00:00:00 - 00:00:01] hello there(Gender: Female, Emotion: sad)", "label": "HELLO THERE"}
    closed = {**base, "instruction": "Transcribe, in lower case, without commas.", "metric": "wer", **IFEVAL}
    steps = {**base, "instruction": "Think step by step.", "metric": "cot", "instruction_id_list": [], "kwargs": []}
    # Beside them lies the same without what is to be followed.
    lines(folder / "eval_data" / "closed_ended_questions-woprompt.jsonl", [{**closed, "instruction": "Transcribe."}])
    lines(folder / "eval_data" / "closed_ended_questions.jsonl", [closed])
    steps["seed_transcript"] = steps.pop("textual_audio")
    lines(folder / "eval_data" / "chain-of-thought.jsonl", [steps])


def spoken_squad(folder: Path, clips: list[SimpleNamespace]) -> None:
    for sentence, clip in enumerate(clips[:2]):
        copied(clip, folder / "test_wav" / f"0_0_{sentence}.wav")
    asked = {"id": "q1", "question": "Who spoke?", "answers": [{"text": "the pilot", "answer_start": 0}]}
    data = [{"title": "T", "paragraphs": [{"context": "the pilot spoke", "qas": [asked]}]}]
    (folder / "spoken_test-v1.1.json").write_text(json.dumps({"data": data, "version": "1.1"}))


def heysquad(folder: Path, clips: list[SimpleNamespace]) -> None:
    row = {"id": "h1", "context": "The pilot spoke.", "question": "Who spoke?", "audio": cell(clips[0])}
    answers = [{"answer_start": 4, "text": "the pilot"}, {"answer_start": 4, "text": "the pilot"}]
    rows = [
        {**row, "answers": answers, "is_impossible": False},
        {**row, "id": "h2", "answers": [], "is_impossible": True},
    ]
    table(folder / "data" / "validation-00000-of-00001.parquet", rows)


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
    rows = {
        "web_questions": {"question": "Where?", "answers": "['Rome', 'Roma']"},
        "trivia_qa": {"question": "Where?", "answer_normalized_aliases": "['rome' 'roma']"},
        "llama_questions": {"Questions": "Where?", "Answer": "Rome"},
        "reasoning_qa": {"Prompt": "Why?", "参考答案": "Because."},
        "alpaca_eval": {"instruction": "Write.", "output": "Words."},
    }
    for name, row in rows.items():
        copied(clips[0], folder / "eval_datas" / name / "audios" / "0.wav")
        with (folder / "eval_datas" / name / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [*row, "audio_filename"])
            writer.writeheader()
            writer.writerow({**row, "audio_filename": "0.wav"})


def uro_bench(folder: Path, clips: list[SimpleNamespace]) -> None:
    copied(clips[0], folder / "basic" / "repeat_test" / "audio" / "0.wav")
    row = {"id": 0, "source_wav": "audio/0.wav", "source_text": "Repeat: hello there", "target_text": "hello there"}
    lines(folder / "basic" / "repeat_test" / "test.jsonl", [row])
    sums = {
        "id": 0,
        "source_wav": cell(clips[0]),
        "source_text": "2 and 3?",
        "target_text": "They make 5.",
        "reference": "5",
    }
    table(folder / "Gsm8kEval" / "test-00000-of-00001.parquet", [sums])
    rounds = []
    for number, clip in enumerate(clips[:2], 1):
        copied(clip, folder / "basic" / "mt_test" / "audio" / f"{number}.wav")
        said = {"source_text": f"Question {number}?", "target_text": f"Answer {number}."}
        rounds.append({"round": number, "source_wav": f"audio/{number}.wav", **said})
    lines(folder / "basic" / "mt_test" / "test.jsonl", [{"id": 0, "num_round": 2, "dialogue": rounds}])


def audio_multichallenge(folder: Path, clips: list[SimpleNamespace]) -> None:
    row = {"id": "c1", "axis": "INSTRUCTION_RETENTION", "rubric": ["Answers in one word.", "Names Rome."]}
    for number, clip in enumerate(clips[:2], 1):
        row |= {f"user_turn_{number}_audio": cell(clip), f"user_turn_{number}_transcript": f"Question {number}?"}
    row["assistant_turn_1_transcript"] = "Answer 1."
    table(folder / "data" / "test-00000-of-00001.parquet", [row])


def air_bench_chat(folder: Path, clips: list[SimpleNamespace]) -> None:
    copied(clips[0], folder / "Chat" / "speech_QA_fisher" / "a.wav")
    row = {"path": "a.wav", "question": "Who calls?", "answer_gt": "A pilot.", "task_name": "speech_QA"}
    rows = [{**row, "dataset_name": "fisher", "uniq_id": 7}, {**row, "task_name": "speech_and_sound_QA"}]
    (folder / "Chat" / "Chat_meta.json").write_text(json.dumps(rows))


ALL = {
    "voicebench": (voicebench, ("openbookqa", "mmsu", "bbh", "ifeval", "advbench", "sd-qa/usa", "alpacaeval_full")),
    "speech_ifeval": (speech_ifeval, ("closed_ended_questions", "chain_of_thought")),
    "spoken_squad": (spoken_squad, ("test",)),
    "heysquad": (heysquad, ("validation",)),
    "big_bench_audio": (big_bench_audio, ("formal_fallacies", "object_counting")),
    "air_bench": (air_bench, ("speech",)),
    "mmau": (mmau, ("speech",)),
    "air_bench_chat": (air_bench_chat, ("speech",)),
    "open_audio_bench": (
        open_audio_bench,
        ("web_questions", "trivia_qa", "llama_questions", "reasoning_qa", "alpaca_eval"),
    ),
    "uro_bench": (uro_bench, ("Repeat", "Gsm8kEval", "MtBenchEval-en")),
    "audio_multichallenge": (audio_multichallenge, ("all",)),
}
