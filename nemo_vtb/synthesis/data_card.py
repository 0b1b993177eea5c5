"""The data card of a folder that ``vtb synth`` made: ``card.json`` for programs and ``card.html`` for people."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from statistics import fmean, median
from typing import Any

from nemo_vtb.errors import VTBError
from nemo_vtb.pages.data_card import render_card
from nemo_vtb.reports.environment import environment
from nemo_vtb.reports.write import write_both
from nemo_vtb.synthesis.jobs.shard import CONVERSATIONS, HELD_OUT
from nemo_vtb.whole_files import read_rows

SAMPLES = 10
VERDICTS = ("good", "fair", "bad")
# Values whose spread is of interest.
CER = ("cer.first", "cer.kept")


def write_card(folder: Path) -> Path:
    """Describes what stands in a folder, with a person's judgement where it has a ``judgement.jsonl``.

    Args:
        folder: A finished job's, with ``totals.json``.

    Returns:
        The page.

    Raises:
        VTBError: If the folder holds no finished job, or a judgement is none; if matplotlib is not installed.
    """
    path = folder / "totals.json"
    if not path.is_file():
        raise VTBError(f"{folder} holds no joined data: run vtb synth text | qa | speech out={folder} to its end")
    totals = json.loads(path.read_text(encoding="utf-8"))
    streams = {name: read_rows(folder / f"{name}.jsonl") for name in totals["rows"]}
    conversations = [*streams.get(CONVERSATIONS, []), *streams.get(HELD_OUT, [])]
    clips = list(clips_of(conversations, streams.get("bank", [])))
    judged = read_judgement(folder / "judgement.jsonl")
    seed = totals["settings"]["seed"]
    values = totals["values"] | {"clip_seconds": [clip["seconds"] for clip in clips if clip["seconds"]]}
    shown = {
        "clips": drawn(clips, seed, lambda clip: clip["id"]),
        "conversations": drawn(conversations, seed, lambda row: row["id"]),
    }
    card = describe(totals, conversations, clips) | {
        "samples": {
            "clips": [clip["id"] for clip in shown["clips"]],
            "conversations": [row["id"] for row in shown["conversations"]],
        },
        "judgement": dict(Counter(judgement["verdict"] for judgement in judged.values())),
        "environment": environment(f"vtb synth {totals['settings']['job']} out=FOLDER", seed),
    }
    write_both(card, folder, lambda text: render_card(card, shown, judged, folder, values, text), "card")
    return folder / "card.html"


def clips_of(conversations: Sequence[Mapping[str, Any]], bank: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields ``id``, ``path``, ``seconds``, ``text`` and ``voice`` of each clip once: the bank's, then the turns'."""
    seen = set()
    for row in bank:
        yield _clip(row["audio_filepath"], row.get("duration"), row.get("text"), row.get("voice"))
        seen.add(row["audio_filepath"])
    for row in conversations:
        for turn in row["conversations"]:
            if turn.get("type") == "audio" and turn["value"] not in seen:
                seen.add(turn["value"])
                voice = (row.get("custom") or {}).get("voice")
                yield _clip(turn["value"], turn.get("duration"), turn.get("text"), voice)


def _clip(path: str, seconds: Any, text: Any, voice: Any) -> dict[str, Any]:
    return {"id": path, "path": path, "seconds": float(seconds or 0), "text": text or "", "voice": voice or "unknown"}


def describe(
    totals: Mapping[str, Any], conversations: Sequence[Mapping[str, Any]], clips: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Counts: everything in the card but its samples, judgement and environment."""
    items = totals["settings"]["items"]
    amounts, values = totals["amounts"], totals["values"]
    custom = [row.get("custom") or {} for row in conversations]
    seconds = sum(clip["seconds"] for clip in clips)
    return {
        "job": totals["settings"]["job"],
        "items": items,
        "rows": totals["rows"],
        "exchanges": dict(sorted(Counter(map(_exchanges, conversations)).items())),
        "hours": seconds / 3600,
        "clips": len(clips),
        "voices": _counted(clip["voice"] for clip in clips),
        "languages": _counted(one.get("lang") or "unknown" for one in custom),
        "categories": _counted(one["category"] for one in custom if one.get("category")),
        "drops": _shares(totals["drops"]),
        "bad": _shares(totals["bad"]),
        "cer": {name.split(".")[1]: _spread(values[name]) for name in CER if values.get(name)},
        "speed": {
            "seconds": totals["seconds"],
            "cpu_seconds": totals["cpu_seconds"],
            "rows_per_second": _ratio(sum(totals["rows"].values()), totals["seconds"]),
            "real_time_factor": _real_time_factors(amounts),
            "llm_tokens_per_second": _ratio(amounts.get("llm_tokens"), amounts.get("llm_seconds")),
        },
        "amounts": {name: round(amount, 2) for name, amount in sorted(amounts.items())},
        "settings": totals["settings"],
    }


def drawn(rows: Sequence[Any], seed: int, name: Any) -> list[Any]:
    """Chooses samples by a hash, so that the same data shows the same ones again and a judgement stays where it was."""
    return sorted(rows, key=lambda row: blake2b(f"{seed}/{name(row)}".encode()).digest())[:SAMPLES]


def read_judgement(path: Path) -> dict[str, dict[str, str]]:
    """Reads what a person thinks of samples, by id; of two of one id, the later counts.

    Raises:
        VTBError: Names the line that is no judgement.
    """
    found: dict[str, dict[str, str]] = {}
    if not path.exists():
        return found
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or row.get("verdict") not in VERDICTS:
            raise VTBError(
                f'{path}:{number}: a judgement is {{"id": ..., "verdict": "{" | ".join(VERDICTS)}", "note": ...}}'
            )
        found[row["id"]] = {"verdict": row["verdict"], "note": str(row.get("note") or "")}
    return found


def _real_time_factors(amounts: Mapping[str, float]) -> dict[str, float]:
    """Time per second of speech, below 1 faster than it plays: of each engine, of all speaking, and of the ASR."""
    engines = [name.removeprefix("tts.seconds.") for name in amounts if name.startswith("tts.seconds.")]
    spent = {engine: (amounts[f"tts.seconds.{engine}"], amounts[f"tts.audio_seconds.{engine}"]) for engine in engines}
    if spent:
        spent["tts"] = (sum(took for took, _ in spent.values()), sum(lasts for _, lasts in spent.values()))
    if "asr.seconds" in amounts:
        spent["asr"] = (amounts["asr.seconds"], amounts["asr.audio_seconds"])
    return {name: took / lasts for name, (took, lasts) in spent.items() if lasts}


def _exchanges(row: Mapping[str, Any]) -> int:
    return sum(turn["from"] == "Assistant" for turn in row["conversations"])


def _counted(names: Any) -> dict[str, int]:
    return dict(Counter(map(str, names)).most_common())


def _shares(reasons: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Counts and shares of all drops; a conversation may lose a later part and stay."""
    total = sum(reasons.values())
    return {reason: {"count": count, "share": count / total} for reason, count in reasons.items()}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"n": len(values), "mean": fmean(values), "median": median(values), "most": max(values)}


def _ratio(part: float | None, whole: float | None) -> float | None:
    return part / whole if part is not None and whole else None
