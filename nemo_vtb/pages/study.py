"""The page of ``vtb study``: its pictures, what became of each claim, and the whole table."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from nemo_vtb.pages.document import Figure, render
from nemo_vtb.pages.study_charts import WIDTH, Drawing, drawings
from nemo_vtb.pages.svg import STAND_IN, svg_of
from nemo_vtb.reports.figures import listed

# The verdicts that study.json may hold, in the order of the headline, and their colours.
_STATES = {"shown": "good", "not shown": "bad", "not testable at this size": "fine", "not run yet": "fine"}


def render_study_page(
    report: Mapping[str, Any], table: tuple[Sequence[str], Sequence[Sequence[str]]], note: str, raw_json: str
) -> str:
    """Renders a study as a self-contained HTML page.

    Args:
        report: What ``study.json`` holds.
        table: Head and rows of the scores of all arms, in words.
        note: How to read the table.
        raw_json: The report as written to ``study.json``, shown at the end.

    Raises:
        VTBError: If matplotlib is not installed.
    """
    charts = [
        Figure(
            one.title,
            one.note,
            svg_of(f"{one.title} of every arm", partial(_draw, one), (WIDTH, one.height)),
        )
        for one in drawings(report)
    ]
    return render(
        "study",
        headline(report),
        list(_cautions(report)),
        report["environment"],
        raw_json,
        charts=charts,
        claims=report["claims"],
        states=_STATES,
        scores=table,
        note=note,
        arms=report["arms"].values(),
    )


def headline(report: Mapping[str, Any]) -> str:
    """Says how many claims are shown and which are not."""
    counts = Counter(claim["verdict"] for claim in report["claims"])
    arms = len(report["arms"])
    if not counts:
        return f"{arms} arms were trained on the same budget and measured on the same sets."
    told = [f"{counts[verdict]} {verdict}" for verdict in _STATES if counts[verdict]]
    return f"{arms} arms on the same budget: of {sum(counts.values())} claims, {listed(told)}."


def _draw(one: Drawing, axes: Any) -> None:
    one.draw(axes=axes, palette=STAND_IN)


def _cautions(report: Mapping[str, Any]) -> Iterator[str]:
    done, planned = (report.get("runs", {}).get(key, 0) for key in ("done", "planned"))
    if done < planned:
        yield f"{done} of {planned} runs are finished: verdicts may change with the others."
    single = [arm["title"] for arm in report["arms"].values() if len(arm["seeds"]) == 1]
    if single:
        yield f"One seed stands behind {listed(single)}: their intervals are over items alone."
    budgets = [arm["positions_per_step"] for arm in report["arms"].values()]
    if len({arm["steps"] for arm in report["arms"].values()}) > 1 or max(budgets) > 1.1 * min(budgets):
        yield "The arms did not have the same budget: compare steps and positions per step below."
    yield "The untouched LLM is asked in writing only; it cannot hear."
