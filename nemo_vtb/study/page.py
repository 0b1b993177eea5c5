"""The page of a study: both pictures, what became of each claim, and the whole table."""

from collections import Counter
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from nemo_vtb.pages.quickstart import details, document, figure
from nemo_vtb.reports.figures import listed
from nemo_vtb.study.claims import NOT_SHOWN, NOT_TESTABLE, SHOWN
from nemo_vtb.study.plots import share_arms, shares_chart, skills_chart
from nemo_vtb.study.table import NOTE, cells

_TITLE = "Study · nemo_vtb"
_STATES = {SHOWN: "good", NOT_SHOWN: "bad", NOT_TESTABLE: "fine"}
_SKILL = "Speech skill is the mean of words right, questions about speech and half spoken prompts."


def render_study_page(report: Mapping[str, Any], raw_json: str) -> str:
    """Renders a study as a self-contained HTML page.

    Args:
        report: As ``compare`` makes it.
        raw_json: The report as written to ``study.json``, shown at the end.

    Raises:
        VTBError: If matplotlib is not installed.
    """
    figures = figure("Speech and text", f"Lines are 95% intervals. {_SKILL}", skills_chart(report))
    if len(share_arms(report)) > 1:
        figures += figure("Share of text", "Arms that differ in nothing else.", shares_chart(report))
    body = (
        f'<div class="figures">{figures}</div>{_claims(report)}{_table(report)}'
        f"{details(report['environment'], raw_json, _commands(report), name='study.json')}"
    )
    return document(_TITLE, headline(report), list(_cautions(report)), body)


def headline(report: Mapping[str, Any]) -> str:
    """Says how many claims are shown and which are not."""
    counts = Counter(claim["verdict"] for claim in report["claims"])
    arms = len(report["arms"])
    if not counts:
        return f"{arms} arms were trained on the same budget and measured on the same sets."
    told = [f"{counts[verdict]} {verdict}" for verdict in _STATES if counts[verdict]]
    return f"{arms} arms on the same budget: of {sum(counts.values())} claims, {listed(told)}."


def _cautions(report: Mapping[str, Any]) -> Iterator[str]:
    single = [arm["title"] for arm in report["arms"].values() if len(arm["seeds"]) == 1]
    if single:
        yield f"One seed stands behind {listed(single)}: their intervals are over items alone."
    budgets = [arm["positions_per_step"] for arm in report["arms"].values()]
    if len({arm["steps"] for arm in report["arms"].values()}) > 1 or max(budgets) > 1.1 * min(budgets):
        yield "The arms did not have the same budget: compare steps and positions per step below."
    yield "The untouched LLM is asked in writing only; it cannot hear."


def _claims(report: Mapping[str, Any]) -> str:
    if not report["claims"]:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(claim["title"])}</th><td class="{_STATES[claim["verdict"]]}">'
        f"{claim['verdict']}</td><td>{_evidence(claim)}</td></tr>"
        for claim in report["claims"]
    )
    return (
        '<section><h2>Claims</h2><p class="lead">Rules on the numbers, judged by code: a difference counts where its '
        "95% interval leaves out 0 and, with several seeds on both sides, all seeds of one arm are above all of the "
        f'other.</p><div class="card"><table class="languages"><tbody>{rows}</tbody></table></div></section>'
    )


def _evidence(claim: Mapping[str, Any]) -> str:
    why = f"<p>{escape(claim['why'])}</p>" if claim["why"] else ""
    return why + "".join(
        f'<p><span class="{"good" if part["holds"] else "bad"}">{"✓" if part["holds"] else "✗"}</span> '
        f"{escape(part['said'])}</p>"
        for part in claim["evidence"]
    )


def _table(report: Mapping[str, Any]) -> str:
    head, rows = cells(report)
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<section><h2>All arms</h2><p class="lead">{NOTE}</p><div class="card"><table class="languages"><thead><tr>'
        f"{names}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _commands(report: Mapping[str, Any]) -> str:
    head = ("Arm", "Steps", "Positions a step", "Audio, min", "Trainable", "Trained with (first seed)")
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    rows = "".join(
        f"<tr><td>{escape(arm['title'])}</td><td>{arm['steps']}</td><td>{arm['positions_per_step']:.0f}</td>"
        f"<td>{arm['audio_minutes']:.0f}</td><td>{arm['trainable'] / 1e6:.1f} M</td>"
        f"<td>{escape(arm['command'])}</td></tr>"
        for arm in report["arms"].values()
    )
    return f"<h2>Training</h2><table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"
