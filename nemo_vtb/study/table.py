"""The scores of a study as a table, in the words of its page, its Markdown and the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nemo_vtb.reports.figures import MISSING, in_columns
from nemo_vtb.study.scores import measure_of

COLUMNS = {
    "wer": "Word errors",
    "sqa": "Questions",
    "mixed_text": "Prompts written",
    "mixed_half": "half spoken",
    "mixed_speech": "spoken",
    "forgot_text": "Forgotten, written",
    "forgot_speech": "Forgotten, spoken",
    "multiturn": "Mixed turns",
    "multiturn_later": "later ones",
    "text": "Text suites",
    "choice": "Choice",
    "bpb": "Bits per byte",
    "kl": "KL",
}
# Measures that stand beside one another; more of them stand below one another.
_ABREAST = 20
NOTE = (
    "Percent, but KL, which is in nats per token. Brackets are 95 % intervals over items and seeds. Word errors and "
    "KL are better when lower."
)
_NOTE_OF_TEXT = " Bits per byte, and what is forgotten of written instructions, are better when lower too."


def note(report: Mapping[str, Any]) -> str:
    """What stands under the table."""
    names = {name.partition("/")[0] for arm in report["arms"].values() for name in arm["scores"]}
    return NOTE + (_NOTE_OF_TEXT if names & {"bpb", "forgot_text"} else "")


def cells(report: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns the head and the rows: an arm each, the untouched LLM last, or a measure each where there are many."""
    titles = dict(_titles(report["apart"]))
    shown = [name for name in titles if any(name in arm["scores"] for arm in report["arms"].values())]
    head = ["Arm", "Seeds", *(titles[name] for name in shown), "Minutes"]
    rows = [
        [
            arm["title"],
            str(len(arm["seeds"])),
            *(score_text(name, arm["scores"].get(name)) for name in shown),
            f"{sum(arm['minutes'].values()):.1f}",
        ]
        for arm in report["arms"].values()
    ]
    untouched = report["untouched"]["scores"]
    rows.append(["untouched LLM, all in writing", "", *(score_text(name, untouched.get(name)) for name in shown), ""])
    if len(shown) <= _ABREAST:
        return head, rows
    head, *rows = (list(column) for column in zip(head, *rows, strict=True))
    return ["Measure", *head[1:]], rows


def _titles(apart: Sequence[str]) -> Iterator[tuple[str, str]]:
    for measure, title in COLUMNS.items():
        yield measure, title
        yield from ((f"{measure}/{name}", f"{title}, {name}") for name in apart)


def score_text(measure: str, score: Mapping[str, Any] | None) -> str:
    """Writes a score with its interval."""
    if score is None:
        return MISSING
    percent = measure_of(measure).unit == "percent"
    value, low, high = (
        (f"{100 * score[key]:.1f}" if percent else f"{score[key]:.3f}").replace("-", "−")
        for key in ("value", "low", "high")
    )
    return f"{value} [{low}, {high}]"


def table_lines(report: Mapping[str, Any]) -> list[str]:
    """The table and the verdicts for the terminal."""
    head, rows = cells(report)
    return [*in_columns([head, *rows]), "", *(f"{claim['verdict']:26} {claim['title']}" for claim in report["claims"])]


def markdown(report: Mapping[str, Any]) -> str:
    """The table and the claims with their evidence, for a README."""
    head, rows = cells(report)
    table = [_line(head), _line(["---"] * len(head)), *map(_line, rows)]
    claims = [_line(["Claim", "Verdict", "Numbers"]), _line(["---"] * 3)]
    for claim in report["claims"]:
        numbers = "<br>".join(
            [*([claim["why"]] if claim["why"] else []), *(part["said"] for part in claim["evidence"])]
        )
        claims.append(_line([claim["title"], f"**{claim['verdict']}**", numbers]))
    return "\n".join([*table, "", note(report), "", *_on_the_way(report), *claims, ""])


def _on_the_way(report: Mapping[str, Any]) -> list[str]:
    """A table of what was asked before the end, an arm's marks one below the other."""
    marked = [(percent, arm) for percent, arms in report.get("on_the_way", {}).items() for arm in arms]
    if not marked:
        return []
    measured = {name for percent, arm in marked for name in report["on_the_way"][percent][arm]}
    titles = {name: title for name, title in _titles(report["apart"]) if name in measured}
    lines = [_line(["Arm", "Of the way", *titles.values()]), _line(["---"] * (2 + len(titles)))]
    for name, arm in report["arms"].items():
        for percent, other in marked:
            if other == name:
                found = report["on_the_way"][percent][name]
                lines.append(_line([arm["title"], f"{percent} %", *(score_text(m, found.get(m)) for m in titles)]))
    return [*lines, ""]


def _line(parts: Sequence[str]) -> str:
    return f"| {' | '.join(parts)} |"
