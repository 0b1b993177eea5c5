"""The benchmarks that ``eval.sets`` may name, and their rows as conversations."""

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.public import layouts, rounds
from nemo_vtb.evaluation.public.layouts import Answered, Question
from nemo_vtb.evaluation.public.rules import RULES, check_rule
from nemo_vtb.options import Key

Layout = Callable[[Path, str, Path], Iterator[Question]]
_NAMES = {
    layouts: ("voicebench", "speech_ifeval", "spoken_squad", "heysquad", "big_bench_audio", "air_bench",
              "air_bench_chat", "mmau", "open_audio_bench"),
    rounds: ("uro_bench", "audio_multichallenge"),
}  # fmt: skip
BENCHMARKS: Mapping[str, Layout] = {name: getattr(module, name) for module, names in _NAMES.items() for name in names}
KEYS = {
    "benchmark": Key(", ".join(BENCHMARKS), "Which layout the copy has."),
    "folder": Key("a path", "The local copy."),
    "subset": Key("str", "Of the benchmark, as its makers call it.", ""),
    "rule": Key(f"{', '.join(RULES)} or null", "How answers are scored; null: as the benchmark has it.", None),
}


def with_public_sets(section: Mapping[str, Any], kept: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turns the sets of a section that name a benchmark into sources of conversations.

    Args:
        section: ``eval`` of the config.
        kept: Folder for the conversations, and for clips that come out of tables.

    Returns:
        The section, and of each such set ``benchmark``, ``subset``, ``rows`` and a ``sha256`` of what is asked.

    Raises:
        VTBError: Names the key, or the file and row of the local copy that cannot be read.
    """
    sets, about = {}, {}
    for name, entry in (section.get("sets") or {}).items():
        if isinstance(entry, Mapping) and "benchmark" in entry:
            entry, about[name] = _written(entry, f"eval.sets.{name}", kept / name)
        sets[name] = entry
    return {**section, "sets": sets}, about


def _written(entry: Mapping[str, Any], where: str, kept: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    name, folder = entry["benchmark"], entry.get("folder")
    if name not in BENCHMARKS:
        raise VTBError(f"{where}.benchmark is '{name}'; it may be {', '.join(BENCHMARKS)}")
    if not folder or not Path(str(folder)).is_dir():
        raise VTBError(f"{where}.folder is {folder!r}; it is the folder of a local copy of {name}")
    rule = entry.get("rule")
    if rule is not None and rule not in RULES:
        raise VTBError(f"{where}.rule is '{rule}'; it may be {', '.join(RULES)}")
    rows = []
    for question in BENCHMARKS[name](Path(str(folder)), str(entry.get("subset", "")), kept / "clips"):
        if used := rule or question.rule:
            check_rule(used, question.row, f"{where}: {question.id}")
        rows.append(_conversation(question, used))
    if not rows:
        raise VTBError(f"{where}: {folder} has no row of subset '{entry.get('subset', '')}'")
    kept.mkdir(parents=True, exist_ok=True)
    path = kept / "conversations.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    rest = {key: value for key, value in entry.items() if key not in KEYS}
    asked = [{**row, "conversations": [_portable(turn) for turn in row["conversations"]]} for row in rows]
    digest = sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    about = {"benchmark": name, "subset": str(entry.get("subset", "")), "rows": len(rows), "sha256": digest}
    return {**rest, "kind": "public", "type": "multimodal_conversation", "manifest_filepath": str(path)}, about


def _portable(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn whose clip is known by its name alone: the same wherever the copy lies."""
    return {**turn, "value": Path(turn["value"]).name} if turn["type"] == "audio" else dict(turn)


def _conversation(question: Question, rule: str) -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    for turn in question.turns:
        if isinstance(turn, Answered):
            turns.append({"from": "Assistant", "type": "text", "value": turn.text})
        elif isinstance(turn, str):
            turns.append({"from": "User", "type": "text", "value": turn})
        else:
            said = {"text": turn[1]} if turn[1] else {}
            turns.append({"from": "User", "type": "audio", "value": str(turn[0]), **said})
    turns.append({"from": "Assistant", "type": "text", "value": question.reference or "-"})
    return {"id": question.id, "conversations": turns, "custom": {"rule": rule, "row": dict(question.row)}}
