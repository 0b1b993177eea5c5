"""The page of ``vtb eval``: bars with intervals, the whole table, samples to listen to, replies lost and won."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nemo_vtb.pages.charts import Bar, score_chart
from nemo_vtb.pages.document import Figure, Tile, render
from nemo_vtb.pages.verdict import USABLE_WER
from nemo_vtb.reports.figures import above, decimal, language, listed, percent, section
from nemo_vtb.reports.score_table import (
    LOWER_IS_BETTER,
    PERCENT,
    PLAIN,
    POINTS,
    TITLES,
    Row,
    changed,
    cut_lines,
    rows_of,
    scored,
    spelt,
    trust,
)

_FEW = 30
# Below it a judge's means say little about the answers: "substantial" begins there in Landis and Koch 1977.
_TRUSTED_KAPPA = 0.6
_CHARTS = (
    *(("asr", "word error rate"), ("ast", "chrF"), ("sqa", "exact match"), ("sqa", "judged correct")),
    *((kind, "accuracy") for kind in ("mixed", "public", "multiturn", "text", "probes")),
)
_COLOURS = {"public": "mixed", "multiturn": "mixed", "probes": "sqa"}


def render_eval_page(report: Mapping[str, Any], samples: Sequence[Mapping[str, Any]], raw_json: str) -> str:
    """Renders an evaluation as a self-contained HTML page.

    Args:
        report: As ``evaluate`` makes it.
        samples: As ``evaluation.samples`` makes them.
        raw_json: The report as written to ``eval.json``, shown at the end.

    Raises:
        VTBError: If matplotlib is not installed.
    """
    rows = rows_of(report)
    judge = section(report, "judge")
    return render(
        "eval",
        headline(report),
        list(_cautions(report, rows)),
        report["environment"],
        raw_json,
        figures=list(_tiles(report)),
        charts=list(_charts(rows)),
        judged=trust(judge) if judge else "",
        scores=[
            (
                (TITLES[row.section], row.name, row.measure, scored(row.tuned, row.unit), scored(row.base, row.unit)),
                _state(row),
                changed(row),
                row.tuned["n"],
            )
            for row in rows
        ],
        replies=[
            (f"{name}: {len(found[what])} {what}", found[what])
            for name, found in _accuracies(report).items()
            for what in ("lost", "won")
            if found[what]
        ],
        samples=samples,
    )


def headline(report: Mapping[str, Any]) -> str:
    """Says in a sentence how well the checkpoint hears and what it lost in text."""
    told = []
    found_rates = {code: found["wer"]["value"] for code, found in section(report, "asr").items()}
    if rates := {code: rate for code, rate in found_rates.items() if rate is not None}:
        best = min(rates, key=rates.__getitem__)
        told.append(f"transcribes {language(best)} at a word error rate of {percent(rates[best])}")
    if questions := section(report, "sqa", "em"):
        told.append(f"answers {percent(questions['value'])} of questions about speech exactly")
    gap = section(report, "mixed", "gap")
    if gap and gap["value"] is not None:
        more = "fewer" if gap["value"] < 0 else "more"
        told.append(f"gets {abs(100 * gap['value']):.0f} points {more} of written prompts right than of spoken ones")
    suites = {name: found["drop"]["value"] for name, found in _accuracies(report).items()}
    if suites:
        worst = max(suites, key=suites.__getitem__)
        lost = suites[worst] > 0
        told.append(
            f"loses at most {percent(suites[worst])} of a text suite ({worst})" if lost else "loses nothing in text"
        )
    return f"The checkpoint {listed(told)}." if told else "Nothing was measured."


def _cautions(report: Mapping[str, Any], rows: Sequence[Row]) -> Iterator[str]:
    gate = report.get("gate")
    if gate and not gate["passed"]:
        yield "The retention gate failed: more text was lost than eval.max_text_drop allows."
    rates = {language(code): found["wer"]["value"] for code, found in section(report, "asr").items()}
    if bad := [name for name, rate in rates.items() if above(rate, USABLE_WER)]:
        yield f"The word error rate is above 50% in {listed(bad)}: those transcripts are not usable."
    for name, found in _accuracies(report).items():
        if above(found["drop"]["low"], 0):
            yield f"Text suite {name} lost more than chance explains: {percent(found['drop']['value'])}."
    if judge := section(report, "judge"):
        yield from _judge_cautions(judge)
    yield from (f"{line[:1].upper()}{line[1:]}." for line in cut_lines(report))
    if few := sorted({row.name for row in rows if row.tuned["n"] < _FEW and not row.name.startswith("…")}):
        yield f"Fewer than {_FEW} items stand behind {listed(few)}: mind the intervals."
    if "base" in section(report, "sqa", "em"):
        yield "Where there is speech, the untouched LLM hears it through the trained adapter, with LoRA off."


def _judge_cautions(judge: Mapping[str, Any]) -> Iterator[str]:
    kappa = judge["agreement"]["kappa"]
    if not (kappa["value"] or 0) >= _TRUSTED_KAPPA:
        yield (
            f"The judge {judge['llm']['model']} agrees too little with labelled answers to be trusted: "
            f"Cohen's kappa is {scored(kappa, PLAIN)}; two people who agree well have {_TRUSTED_KAPPA:g} and more."
        )
    if failed := judge["not_judged"]:
        yield f"The judge gave no usable verdict on {len(failed)} answers, which are left out: see judge.not_judged."


def _tiles(report: Mapping[str, Any]) -> Iterator[Tile]:
    for code, found in section(report, "asr").items():
        yield _tile(f"Word errors, {language(code)}", found["wer"], above(found["wer"]["value"], USABLE_WER))
    for pair, found in section(report, "ast").items():
        yield Tile(f"chrF, {pair}", decimal(found["chrf"]["value"]), [_between(found["chrf"], POINTS)])
    kappa = section(report, "judge", "agreement", "kappa")
    judge = f" (judge's kappa {decimal(kappa['value'])})" if kappa else ""
    for title, keys in (
        ("Questions, exact", ("sqa", "em")),
        (f"Judged correct{judge}", ("sqa", "correct")),
        ("Spoken prompts", ("mixed", "speech")),
        ("Half spoken prompts", ("mixed", "half")),
        ("Turns of conversations", ("multiturn", "accuracy")),
    ):
        if score := section(report, *keys):
            yield _tile(title, score, above(0.5, score["value"]))
    for name, found in _accuracies(report).items():
        lines = [f"{percent(found['base']['value'])} untouched", f"drop {_between(found['drop'])}"]
        yield Tile(f"Text: {name}", percent(found["tuned"]["value"]), lines, above(found["drop"]["low"], 0))


def _tile(title: str, score: Mapping[str, Any], bad: bool) -> Tile:
    base = section(score, "base")
    beside = [f"{percent(base['value'])} untouched"] if base else []
    return Tile(title, percent(score["value"]), [*beside, f"{_between(score)}, n={score['n']}"], bad)


def _between(score: Mapping[str, Any], unit: str = PERCENT) -> str:
    return f"{spelt(score['low'], unit)} to {spelt(score['high'], unit)}{'%' * (unit == PERCENT)}"


def _charts(rows: Sequence[Row]) -> Iterator[Figure]:
    for kind, measure in _CHARTS:
        found = [row for row in rows if (row.section, row.measure) == (kind, measure) and row.base]
        bars = [
            Bar(row.name, _COLOURS.get(kind, kind), row.base, row.tuned)
            for row in found
            if not row.name.startswith("gap")
        ]
        if bars:
            percents, lower = found[0].unit == PERCENT, measure in LOWER_IS_BETTER
            axis = measure + " (%)" * percents + ", lower is better" * lower
            # An error rate has no end; most useful ones are below it.
            end, scale = 120.0 if lower else 100.0, 100.0 if percents else 1.0
            chart = score_chart(f"{TITLES[kind]}: {measure}", bars, axis, end, scale)
            yield Figure(TITLES[kind], "Lines are 95% intervals.", chart)


def _state(row: Row) -> str:
    """Good or bad where the interval of the difference leaves out 0."""
    if not row.change or row.change["low"] is None or row.change["low"] <= 0 <= row.change["high"]:
        return "fine"
    return "good" if (row.change["value"] < 0) == (row.measure in LOWER_IS_BETTER) else "bad"


def _accuracies(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found for name, found in section(report, "text").items() if found["measure"] == "accuracy"}
