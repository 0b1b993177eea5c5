"""``vtb data prepare``: a local copy of a corpus as manifests, and the blend that reads them."""

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import yaml

from nemo_vtb.data.corpora.catalog import CORPORA, Corpus
from nemo_vtb.data.corpora.rows import Asked
from nemo_vtb.errors import VTBError
from nemo_vtb.paths import require_writable

# The first of a corpus's kinds has the plain file names: train.jsonl; others say theirs: train.sqa.jsonl.
_ORDER = ("asr", "ast", "text", "sqa")


def prepare(name: str, folder: str, out: str, languages: Sequence[str] = (), targets: Sequence[str] = ()) -> list[str]:
    """Reads a local copy and writes ``<split>[.<kind>].jsonl``, ``blend/<name>.yaml`` and ``corpus.json``.

    Files appear under their names when they are whole, so that a run that was stopped is simply started again.

    Args:
        name: Of the corpus; see ``catalog``.
        folder: The local copy, in the layout it is published in.
        out: Folder of the files.
        languages: Tags of what is said; all that are there, if empty.
        targets: Tags of translations; likewise.

    Returns:
        What was written, a line for each file, and what was left out.

    Raises:
        VTBError: If there is no such corpus, or file and line of what is not as published.
    """
    if name not in CORPORA:
        raise VTBError(f"no corpus '{name}'; there are {', '.join(CORPORA)}")
    corpus = CORPORA[name]
    if not Path(folder).is_dir():
        raise VTBError(f"--from {folder}: no such folder; it is a local copy of {corpus.published}")
    require_writable(out, "--out")
    asked = Asked(Path(folder), Path(out), tuple(languages), tuple(targets))
    counts: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: {"rows": 0, "hours": 0.0})
    tags: dict[tuple[str, str], set[str]] = defaultdict(set)
    files: dict[tuple[str, str], TextIO] = {}
    try:
        for row in corpus.read(asked):
            key = (row.split, row.kind)
            if key not in files:
                files[key] = _part(asked.out, *key).open("w", encoding="utf-8")
            files[key].write(json.dumps({**row.fields, "split": row.split}, ensure_ascii=False) + "\n")
            counts[key]["rows"] += 1
            counts[key]["hours"] += row.fields.get("duration", 0.0) / 3600
            if row.fields.get("lang"):
                tags[key].add(row.fields["lang"])
    finally:
        for file in files.values():
            file.close()
    left_out = [f"left out: {count} {what}" for what, count in sorted(asked.left_out.items())]
    if not files:
        wanted = ", ".join([*languages, *targets]) or "any language"
        raise VTBError(f"{folder}: nothing of {name} in {wanted}{''.join(f'; {line}' for line in left_out)}")
    first = min((kind for _, kind in files), key=_ORDER.index)
    lines, listed = [], []
    for (split, kind), count in counts.items():
        path = asked.out / (f"{split}.jsonl" if kind == first else f"{split}.{kind}.jsonl")
        os.replace(_part(asked.out, split, kind), path)
        listed.append({"file": path.name, "split": split, "kind": kind, "rows": int(count["rows"]),
                       "hours": round(count["hours"], 4), "languages": sorted(tags[split, kind])})  # fmt: skip
        lines.append(f"{path}: {int(count['rows'])} rows, {count['hours']:.2f} h, {kind}")
    about = {"corpus": name, "published": corpus.published, "licence": corpus.licence, "files": listed,
             "left_out": dict(asked.left_out)}  # fmt: skip
    (asked.out / "corpus.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines.append(str(_blend(name, corpus, asked.out, listed)))
    return lines + left_out


def _part(out: Path, split: str, kind: str) -> Path:
    return out / f".{split}.{kind}.part"


def _blend(name: str, corpus: Corpus, out: Path, listed: list[dict[str, Any]]) -> Path:
    """A config of the group ``blend`` that trains on every file that is for training."""
    kinds: dict[str, Any] = {}
    for file in listed:
        if not file["split"].startswith("train"):
            continue
        kind = file["kind"]
        chat = kind in ("sqa", "text")
        entry = {"type": "multimodal_conversation" if chat else "nemo", "name": f"{name}/{file['split']}",
                 "manifest_filepath": str((out / file["file"]).absolute())}  # fmt: skip
        kinds.setdefault(kind, {"share": 1.0, "input_cfg": []})["input_cfg"].append(entry)
    path = out / "blend" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    head = (
        f"# @package data.train_ds.blend\n# {name} ({corpus.published}; {corpus.licence}), by vtb data prepare:\n"
        f"#   vtb train --config-name=CONFIG --config-dir={out.absolute()} +blend={name}\n"
    )
    path.write_text(head + yaml.safe_dump({"kinds": kinds}, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
