"""Corpora read in their own layout: translations, questions, and what Lhotse's recipes need a network for."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nemo_vtb.data.corpora.rows import Asked, Row, lines_of, records, seconds_of, some, table
from nemo_vtb.errors import VTBError

_MARKS = {"<COMMA>": ",", "<PERIOD>": ".", "<QUESTIONMARK>": "?", "<EXCLAMATIONPOINT>": "!"}
_NOISE = ("<SIL>", "<MUSIC>", "<NOISE>", "<OTHER>")
_COVOST = re.compile(r"covost_v2\.([\w-]+)_([\w-]+)\.(train|dev|test)\.tsv$")


def voxpopuli(asked: Asked) -> Iterator[Row]:
    """VoxPopuli's transcribed speech: ``<language>/asr_<split>.tsv`` and ``<language>/<year>/*.ogg``."""
    for file in some(asked.folder, "transcribed_data/*/asr_*.tsv", "*/asr_*.tsv"):
        language, split = file.parent.name, file.stem.removeprefix("asr_")
        if not asked.wants(language):
            continue
        for where, row in table(file):
            path = file.parent / row["id"][:4] / f"{row['id']}.ogg"
            text = row.get("raw_text") or row["normalized_text"]
            yield Row(split, "asr", _heard(row["id"], path, where, text, language))


def gigaspeech(asked: Asked) -> Iterator[Row]:
    """GigaSpeech: ``GigaSpeech.json`` with segments of long recordings; segments without words are left out."""
    file = some(asked.folder, "GigaSpeech.json")[0]
    for audio in json.loads(file.read_text(encoding="utf-8"))["audios"]:
        path = asked.folder / audio["path"]
        if not path.is_file():
            raise VTBError(f"{file}: {audio['aid']}: no recording {path}")
        for segment in audio["segments"]:
            words = [_MARKS.get(word, word.lower()) for word in segment["text_tn"].split() if word not in _NOISE]
            text = re.sub(r" ([,.?!])", r"\1", " ".join(words))
            if not re.search(r"\w", text):
                asked.left_out["segments without words"] += 1
                continue
            parts = [name.strip("{}") for name in segment["subsets"]]
            split = next((name.lower() for name in ("DEV", "TEST") if name in parts), "train")
            yield Row(split, "asr", {
                "id": segment["sid"], "audio_filepath": str(path.absolute()), "offset": segment["begin_time"],
                "duration": round(segment["end_time"] - segment["begin_time"], 3), "text": text, "lang": "en",
            })  # fmt: skip


def covost2(asked: Asked) -> Iterator[Row]:
    """CoVoST 2: ``covost_v2.<from>_<to>.<split>.tsv`` beside Common Voice's ``clips``."""
    for file in some(asked.folder, "*/covost_v2.*.tsv", "covost_v2.*.tsv"):
        named = _COVOST.search(file.name)
        if named is None or not asked.wants(named[1]) or (asked.targets and named[2] not in asked.targets):
            continue
        for where, row in table(file):
            path = file.parent / "clips" / row["path"]
            fields = _heard(Path(row["path"]).stem, path, where, row["sentence"], named[1])
            yield Row(named[3], "ast", _translated(fields, named[2], row["translation"]))


def europarl_st(asked: Asked) -> Iterator[Row]:
    """Europarl-ST: ``<from>/<to>/<split>/segments.lst`` with the words of both, and ``<from>/audios``."""
    for file in some(asked.folder, "*/*/*/segments.lst", "v*/*/*/*/segments.lst"):
        source, target, split = file.parts[-4:-1]
        if not asked.wants(source) or (asked.targets and target not in asked.targets):
            continue
        lines, said, translated = (
            lines_of(file.parent / name) for name in ("segments.lst", f"segments.{source}", f"segments.{target}")
        )
        if not len(lines) == len(said) == len(translated):
            raise VTBError(f"{file}: {len(lines)} segments, {len(said)} and {len(translated)} lines of words")
        for number, (line, words, answer) in enumerate(zip(lines, said, translated, strict=True), 1):
            name, begin, end = line.split()
            audios = file.parents[2] / "audios"
            paths = sorted(audios.glob(f"{name}.*"))
            if not paths:
                raise VTBError(f"{file}:{number}: no recording {audios}/{name}.*")
            fields = {
                "id": f"{name}-{begin}", "audio_filepath": str(paths[0].absolute()), "offset": float(begin),
                "duration": round(float(end) - float(begin), 3), "text": words.strip(), "lang": source,
            }  # fmt: skip
            yield Row("dev" if split == "valid" else split, "ast", _translated(fields, target, answer.strip()))


def slurp(asked: Asked) -> Iterator[Row]:
    """SLURP: ``dataset/slurp/<split>.jsonl`` and ``audio/slurp_real``; words, and what is asked for."""
    roots = some(asked.folder, "audio/slurp_real", "scripts/audio/slurp_real", "slurp_real")
    for file in some(asked.folder, "dataset/slurp/*.jsonl", "*.jsonl"):
        split = {"devel": "dev"}.get(file.stem, file.stem)
        if split not in ("train", "dev", "test"):
            continue
        for where, row in records(file):
            for recording in row["recordings"]:
                path = roots[0] / recording["file"]
                name = f"{row['slurp_id']}-{path.stem}"
                fields = _heard(name, path, where, row["sentence"], "en")
                yield Row(split, "asr", fields)
                asks = {"question": "Which area and which action does the speaker ask for?"}
                answer = f"{row['scenario']}, {row['action']}".replace("_", " ")
                yield Row(split, "sqa", _chat(name, fields, asks["question"], answer))


def spoken_squad(asked: Asked) -> Iterator[Row]:
    """Spoken-SQuAD: SQuAD's JSON, and a clip for each sentence, ``topic_paragraph_sentence.wav``."""
    import numpy as np
    import soundfile

    for file in some(asked.folder, "spoken_*.json"):
        split = "train" if "train" in file.name else "test"
        clips = {path.stem: path for folder in some(asked.folder, f"*{split}*wav*", "wav*", ".") for path in
                 folder.rglob("*.wav")}  # fmt: skip
        for stem, paragraph, own in spoken_paragraphs(file, clips):
            path = asked.out / "clips" / split / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            read = [soundfile.read(clip, dtype="float32") for clip in own]
            if len(rates := {rate for _, rate in read}) > 1:
                raise VTBError(f"{own[0]} and the clips that follow it have several sampling rates: {sorted(rates)} Hz")
            soundfile.write(path, np.concatenate([samples for samples, _ in read]), read[0][1])
            fields = _heard(stem, path, str(file), paragraph["context"], "en")
            for asks in paragraph["qas"]:
                answers = [answer["text"] for answer in asks["answers"]]
                row = _chat(asks["id"], fields, asks["question"], answers[0])
                yield Row(split, "sqa", {**row, "custom": {"answers": answers}})


def spoken_paragraphs(file: Path, clips: Mapping[str, Path]) -> Iterator[tuple[str, dict[str, Any], list[Path]]]:
    """Yields the paragraphs of a file of Spoken-SQuAD, each with its name and the clips of its sentences in order.

    Args:
        file: SQuAD's JSON.
        clips: By name, ``topic_paragraph_sentence``.

    Raises:
        VTBError: If a paragraph has no clip.
    """
    of_paragraph: defaultdict[str, dict[int, Path]] = defaultdict(dict)
    for name, path in clips.items():
        paragraph, _, sentence = name.rpartition("_")
        if sentence.isdecimal():
            of_paragraph[paragraph][int(sentence)] = path
    for topic, title in enumerate(json.loads(file.read_text(encoding="utf-8"))["data"]):
        for place, found in enumerate(title["paragraphs"]):
            own = of_paragraph[f"{topic}_{place}"]
            if not own:
                raise VTBError(f"{file}: no clip {topic}_{place}_*.wav")
            yield f"{topic}_{place}", found, [own[sentence] for sentence in sorted(own)]


def _heard(name: str, path: Path, where: str, text: str, language: str) -> dict[str, Any]:
    seconds = round(seconds_of(path, where), 3)
    return {"id": name, "audio_filepath": str(path.absolute()), "duration": seconds, "text": text, "lang": language}


def _translated(fields: dict[str, Any], target: str, answer: str) -> dict[str, Any]:
    return {**fields, "id": f"{fields['id']}-{target}", "source_lang": fields["lang"], "target_lang": target,
            "answer": answer}  # fmt: skip


def _chat(name: str, fields: dict[str, Any], question: str, answer: str) -> dict[str, Any]:
    clip = {"from": "User", "type": "audio", "value": fields["audio_filepath"], "text": fields["text"]}
    turns = [clip, {"from": "User", "type": "text", "value": question},
             {"from": "Assistant", "type": "text", "value": answer}]  # fmt: skip
    return {"id": str(name), "conversations": turns}
