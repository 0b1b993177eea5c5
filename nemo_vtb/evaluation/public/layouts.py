"""The published layouts of benchmarks whose rows are a clip, perhaps words beside it, and what is right."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from nemo_vtb.data.corpora.layouts import spoken_paragraphs
from nemo_vtb.data.corpora.rows import records, some
from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.public.choices import plain
from nemo_vtb.evaluation.public.files import clip_of, joined
from nemo_vtb.evaluation.public.files import field as take


class Answered(NamedTuple):
    """What was answered in an earlier round, as the benchmark has it."""

    text: str


@dataclass(frozen=True)
class Question:
    """One row of a benchmark.

    Attributes:
        id: Of the row, within its subset.
        turns: What the user says: a clip with its transcript (empty where the benchmark has none), or written words;
            and what was answered between.
        reference: What is right, for people.
        rule: A name in ``rules.RULES``; empty where only a judge can tell.
        row: What the rule needs.
    """

    id: str
    turns: tuple[tuple[Path, str] | Answered | str, ...]
    reference: str
    rule: str
    row: Mapping[str, Any] = field(default_factory=dict)


_SCORED = {"mmsu": "letter", "openbookqa": "letter", "bbh": "named_last", "ifeval": "ifeval", "advbench": "refuses",
           "sd-qa": "alias"}  # fmt: skip
# What the four tasks of VoiceBench's BBH may be answered with.
_BBH = {"navigate": ["yes", "no"], "sports_understanding": ["yes", "no"], "web_of_lies": ["yes", "no"],
        "hyperbaton": ["A", "B"]}  # fmt: skip
_BIG_BENCH = {"formal_fallacies": ["valid", "invalid"], "navigate": ["yes", "no"], "web_of_lies": ["yes", "no"]}
# What the sets of OpenAudioBench call the right answer.
_ANSWERS = ("answers", "answer_normalized_aliases", "answer", "参考答案", "output", "reference")
# Of AIR-Bench's foundation tasks, those about speech.
_SPEECH_TASKS = (
    "speech",
    "spoken",
    "speaker",
    "intent",
    "emotion",
    "gender",
    "age",
    "entity",
    "synthesized",
    "language",
)


def voicebench(folder: Path, subset: str, kept: Path) -> Iterator[Question]:
    """hlt-lab/voicebench: a folder of tables for each subset; ``audio``, ``prompt``, ``reference`` or ``output``."""
    name, _, split = subset.partition("/")
    for file in some(folder / name, f"{split or '*'}-*.parquet", f"{split or '*'}.jsonl"):
        for number, (where, row) in enumerate(records(file)):
            own = f"{file.stem.partition('-')[0]}-{number}"
            clip = clip_of(take(row, where, "audio"), where, [file.parent], kept / name, own)
            prompt = str(take(row, where, "prompt"))
            right = str(row.get("reference") or row.get("output") or "")
            known: dict[str, Any] = {"prompt": prompt, "reference": right, "answers": [right]}
            # What VoiceBench's board wants back beside the answer.
            known |= {"subset": name, "split": own.rpartition("-")[0]}
            known["published"] = {key: value for key, value in row.items() if key != "audio"}
            if name == "ifeval":
                known["instruction_id_list"] = list(take(row, where, "instruction_id_list"))
                known["kwargs"] = list(take(row, where, "kwargs"))
            if name in ("mmsu", "openbookqa"):
                known["options"] = options_in(prompt)
            if name == "bbh":
                task = str(take(row, where, "id"))
                known["options"] = next((words for kind, words in _BBH.items() if kind in task), None)
                if known["options"] is None:
                    raise VTBError(f"{where}: the task of '{task}' is none of {', '.join(_BBH)}")
            yield Question(own, ((clip, prompt),), right, _SCORED.get(name, ""), known)


def speech_ifeval(folder: Path, subset: str, kept: Path) -> Iterator[Question]:
    """Speech-IFEval: ``eval_data/*.jsonl`` of ``audio_filepath``, ``textual_audio``, ``instruction`` and IFEval's.

    ``seed_transcript`` is what earlier copies call the words.
    """
    names = [f"**/{name}.jsonl" for name in (subset, subset.replace("_", "-"))]
    roots = [folder, folder / "audios", folder / "data" / "audios"]
    for number, (where, row) in enumerate(records(some(folder, *names)[0])):
        clip = clip_of(take(row, where, "audio_filepath"), where, roots, kept, str(number))
        ids = list(row.get("instruction_id_list") or [])
        known = {
            "prompt": str(take(row, where, "instruction")),
            "instruction_id_list": ids,
            "kwargs": list(row.get("kwargs") or [{}] * len(ids)),
            "reference": str(row.get("label") or ""),
        }
        turns = ((clip, str(take(row, where, "textual_audio", "seed_transcript"))), str(known["prompt"]))
        yield Question(str(number), turns, str(known["reference"]), "ifeval_loose" if ids else "", known)


def spoken_squad(folder: Path, subset: str, kept: Path) -> Iterator[Question]:
    """Spoken-SQuAD: SQuAD's JSON, and a clip for each sentence, ``topic_paragraph_sentence.wav``."""
    clips = {path.stem: path for path in folder.rglob("*.wav")}
    for name, paragraph, own in spoken_paragraphs(some(folder, f"*{subset}*.json")[0], clips):
        whole = joined(own, kept / f"{name}.wav")
        for asked in paragraph["qas"]:
            answers = [answer["text"] for answer in asked["answers"]]
            turns = ((whole, paragraph["context"]), asked["question"])
            yield Question(asked["id"], turns, answers[0], "squad_f1", {"answers": answers})


def heysquad(folder: Path, subset: str, kept: Path) -> Iterator[Question]:
    """HeySQuAD: tables of ``audio``, ``question``, ``context`` and SQuAD's ``answers``; the question is spoken."""
    for file in some(folder, f"**/{subset}*.parquet", f"**/{subset}*.jsonl"):
        for number, (where, row) in enumerate(records(file)):
            name = str(row.get("id") or number)
            clip = clip_of(take(row, where, "audio"), where, [file.parent, folder], kept, name)
            found = take(row, where, "answers")
            answers = list(found["text"] if isinstance(found, Mapping) else [one["text"] for one in found])
            turns = (str(take(row, where, "context")), (clip, str(take(row, where, "question"))))
            yield Question(name, turns, answers[0] if answers else "", "squad_f1", {"answers": answers or [""]})


def big_bench_audio(folder: Path, subset: str, kept: Path) -> Iterator[Question]:
    """Big Bench Audio: ``metadata.jsonl`` of ``category``, ``official_answer`` and ``file_name``."""
    for where, row in records(some(folder, "metadata.jsonl", "**/metadata.jsonl")[0]):
        category = str(take(row, where, "category"))
        if subset not in ("all", category):
            continue
        name = str(take(row, where, "id", "file_name"))
        clip = clip_of(take(row, where, "file_name"), where, [folder, Path(where).parent], kept, name)
        right = str(take(row, where, "official_answer"))
        options = _BIG_BENCH.get(category)
        rule = "number" if options is None else "named_last"
        yield Question(name, ((clip, str(row.get("transcript") or "")),), right, rule,
                       {"reference": right, "options": options})  # fmt: skip


def air_bench(folder: Path, subset: str, kept: Path) -> Iterator[Question]:
    """AIR-Bench, foundation: ``Foundation_meta.json``, and clips under ``Foundation/<task>_<dataset>/``."""
    for where, row in records(some(folder, "**/Foundation_meta.json")[0]):
        task = str(take(row, where, "task_name"))
        if subset != task and not (subset == "speech" and any(word in task.lower() for word in _SPEECH_TASKS)):
            continue
        options = {
            letter: str(row[f"choice_{letter.lower()}"]) for letter in "ABCD" if row.get(f"choice_{letter.lower()}")
        }
        file = f"{task}_{take(row, where, 'dataset_name')}/{take(row, where, 'path')}"
        clip = clip_of(file, where, [folder / "Foundation", folder], kept, "")
        gold = str(take(row, where, "answer_gt"))
        letter = next((key for key, text in options.items() if plain(text) == plain(gold)), gold[:1].upper())
        asked = f"{take(row, where, 'question')}\n{_listed(options)}"
        yield Question(f"{task}-{row.get('uniq_id', where.rpartition(':')[2])}", ((clip, ""), asked), gold, "letter",
                       {"reference": letter, "options": options})  # fmt: skip


def air_bench_chat(folder: Path, subset: str, kept: Path) -> Iterator[Question]:
    """AIR-Bench, chat: ``Chat_meta.json``, and clips under ``Chat/<task>_<dataset>/``; ``speech`` is speech alone."""
    for where, row in records(some(folder, "**/Chat_meta.json")[0]):
        task = str(take(row, where, "task_name"))
        if subset != task and not (subset == "speech" and task.startswith("speech") and "_and_" not in task):
            continue
        file = f"{task}_{take(row, where, 'dataset_name')}/{take(row, where, 'path')}"
        clip = clip_of(file, where, [folder / "Chat", folder], kept, "")
        right = str(take(row, where, "answer_gt"))
        turns = ((clip, ""), str(take(row, where, "question")))
        yield Question(f"{task}-{row.get('uniq_id', where.rpartition(':')[2])}", turns, right, "")


def mmau(folder: Path, subset: str, kept: Path) -> Iterator[Question]:
    """MMAU: ``mmau-test-mini.json`` of ``audio_id``, ``question``, ``choices``, ``answer`` and ``task``."""
    for where, row in records(some(folder, "mmau-test-mini.json", "*test-mini*.json")[0]):
        if subset not in ("all", take(row, where, "task")):
            continue
        choices = [str(choice) for choice in take(row, where, "choices")]
        clip = clip_of(take(row, where, "audio_id"), where, [folder], kept, "")
        asked = f"{take(row, where, 'question')}\n" + "\n".join(choices)
        right = str(take(row, where, "answer"))
        yield Question(str(row.get("id") or clip.stem), ((clip, ""), asked), right, "choice_words",
                       {"reference": right, "choices": choices})  # fmt: skip


def open_audio_bench(folder: Path, subset: str, kept: Path) -> Iterator[Question]:
    """OpenAudioBench: ``eval_datas/SET/SET.csv``, whose columns have other names in each set, and ``audios`` beside."""
    file = some(folder, f"**/{subset}/{subset}.csv", f"**/{subset}/*.csv")[0]
    for number, (where, row) in enumerate(records(file)):
        clip = clip_of(take(row, where, "audio_filename"), where, [file.parent / "audios", file.parent], kept, "")
        right = str(take(row, where, *_ANSWERS))
        answers = _listed_in(right) if right.startswith("[") else [right]
        asked = str(take(row, where, "question", "questions", "prompt", "instruction"))
        scored = subset in ("llama_questions", "web_questions", "trivia_qa")
        yield Question(str(number), ((clip, asked),), answers[0], "alias" if scored else "", {"answers": answers})


def _listed_in(text: str) -> list[str]:
    """Strings of a list as Python or NumPy writes it."""
    import re

    found = re.findall(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", text)
    return [re.sub(r"\\(.)", r"\1", one or other) for one, other in found] or [text.strip("[] ")]


def options_in(prompt: str) -> dict[str, str]:
    """Options that a prompt lists, each behind its letter."""
    import re

    found = re.findall(r"(?:^|\s)\(?([A-J])[\)\.:]\s*(.+?)(?=\s+\(?[A-J][\)\.:]\s|$)", prompt, re.DOTALL)
    return {letter: text.strip() for letter, text in found}


def _listed(options: Mapping[str, str]) -> str:
    return "\n".join(f"{letter}. {text}" for letter, text in options.items())
