"""The card's table of public benchmarks, with all that must be known to compare a row with somebody else's."""

from collections.abc import Iterator, Mapping
from typing import Any

_HEAD = ("benchmark", "measure", "spoken", "written", "untouched LLM, written", "forgetting", "unread", "n", "data")


def leaderboard(report: Mapping[str, Any] | None) -> Iterator[str]:
    """Lines of the section; none where no public benchmark was asked."""
    public = (report or {}).get("public") or {}
    scored = {name: found for name, found in public.items() if "speech" in found}
    if report is None or not scored:
        return
    yield from ("", "## Public benchmarks", "", f"| {' | '.join(_HEAD)} |", "|" + "---|" * len(_HEAD))
    for name, found in scored.items():
        speech, text = found["speech"], found.get("text")
        data = (report.get("datasets") or {}).get(name, {})
        cells = [
            name.replace("_", " "),
            found["measure"],
            _percent(speech["value"]),
            _percent(text["value"]) if text else "–",
            _percent(text["base"]["value"]) if text else "–",
            f"{100 * found['forgetting']:+.1f} %" if "forgetting" in found else "–",
            str(speech["unmatched"]["tuned"]),
            str(speech["n"]),
            f"{data['benchmark']} {data['subset']}, sha256 {data['sha256'][:12]}" if data else "–",
        ]
        yield f"| {' | '.join(cells)} |"
    decoding = report.get("decoding") or {}
    limits = decoding.get("max_new_tokens") or {}
    tokens = ", ".join(f"{name.replace('_', ' ')} {limits[name]}" for name in scored if name in limits)
    judge = report.get("judge")
    yield ""
    yield (
        "Greedy answers to one prompt each, in percent; *forgetting* is spoken against the untouched LLM on the words; "
        "*unread* are answers in which no rule finds a choice, counted as wrong."
    )
    yield f"Thinking: {decoding.get('thinking', 'auto')}. Most tokens of an answer: {tokens or 'not stated'}."
    yield f"Judge: {judge['llm']['model']}, {judge['prompt']['version']}." if judge else "No judge."


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"
