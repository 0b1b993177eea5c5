"""The page of ``vtb eval``: bars with intervals, the whole table, samples to listen to, replies lost and won."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from nemo_vtb.pages.bars import bar_chart
from nemo_vtb.pages.quickstart import details, document, figure
from nemo_vtb.pages.samples import prompt_words, samples_table
from nemo_vtb.pages.tiles import tile
from nemo_vtb.pages.verdict import USABLE_WER, language
from nemo_vtb.reports.figures import decimal, listed, percent, section
from nemo_vtb.reports.score_table import LOWER_IS_BETTER, PLAIN, TITLES, Row, changed, rows_of, scored, trust

_TITLE = "Evaluation · nemo_vtb"
_FEW = 30
# Below it a judge's means say little about the answers: "substantial" begins there in Landis and Koch 1977.
_TRUSTED_KAPPA = 0.6
# Section, measure, what the axis says, where it ends, factor from values to the axis.
_CHARTS = (
    ("asr", "word error rate", "word error rate (%), lower is better", 120.0, 100.0),
    ("ast", "chrF", "chrF", 100.0, 1.0),
    ("sqa", "exact match", "exact match (%)", 100.0, 100.0),
    ("sqa", "judged correct", "judged correct (%)", 100.0, 100.0),
    ("mixed", "accuracy", "accuracy (%)", 100.0, 100.0),
    ("multiturn", "accuracy", "checked turns right (%)", 100.0, 100.0),
    ("text", "accuracy", "accuracy (%)", 100.0, 100.0),
    ("probes", "accuracy", "accuracy (%)", 100.0, 100.0),
)
_COLOURS = {"multiturn": "mixed", "probes": "sqa"}


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
    body = (
        f'{_tiles(report)}<div class="figures">{"".join(_figures(rows))}</div>{_table(rows, section(report, "judge"))}'
        f"{_replies(report)}{_samples(samples)}{details(report['environment'], raw_json, name='eval.json')}"
    )
    return document(_TITLE, headline(report), list(_cautions(report, rows)), body)


def headline(report: Mapping[str, Any]) -> str:
    """Says in a sentence how well the checkpoint hears and what it lost in text."""
    told = []
    rates = {code: found["wer"]["value"] for code, found in section(report, "asr").items()}
    if rates:
        best = min(rates, key=rates.__getitem__)
        told.append(f"transcribes {language(best)} at a word error rate of {percent(rates[best])}")
    if questions := section(report, "sqa", "em"):
        told.append(f"answers {percent(questions['value'])} of questions about speech exactly")
    if gap := section(report, "mixed", "gap"):
        told.append(f"gets {100 * gap['value']:.0f} points more of written prompts right than of spoken ones")
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
    if bad := [name for name, rate in rates.items() if rate is not None and rate > USABLE_WER]:
        yield f"The word error rate is above 50% in {listed(bad)}: those transcripts are not usable."
    for name, found in _accuracies(report).items():
        if found["drop"]["low"] > 0:
            yield f"Text suite {name} lost more than chance explains: {percent(found['drop']['value'])}."
    if judge := section(report, "judge"):
        yield from _judge_cautions(judge)
    if few := sorted({row.name for row in rows if row.tuned["n"] < _FEW}):
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


def _tiles(report: Mapping[str, Any]) -> str:
    shown = []
    for code, found in section(report, "asr").items():
        shown.append(_tile(f"Word errors, {language(code)}", found["wer"], found["wer"]["value"] > USABLE_WER))
    for pair, found in section(report, "ast").items():
        value = found["chrf"]["value"]
        shown.append(tile(f"chrF, {escape(pair)}", decimal(value), _between(found["chrf"], 1), "fine"))
    for title, keys in (
        ("Questions, exact", ("sqa", "em")),
        (f"Judged correct{_judge_of(report)}", ("sqa", "correct")),
        ("Spoken prompts", ("mixed", "speech")),
        ("Half spoken prompts", ("mixed", "half")),
        ("Turns of conversations", ("multiturn", "accuracy")),
    ):
        if score := section(report, *keys):
            shown.append(_tile(title, score, score["value"] < 0.5))
    for name, found in _accuracies(report).items():
        drop = found["drop"]
        detail = f"{percent(found['base']['value'])} untouched<br>drop {_between(drop)}"
        shown.append(
            tile(
                f"Text: {escape(name)}", percent(found["tuned"]["value"]), detail, "bad" if drop["low"] > 0 else "fine"
            )
        )
    return f'<section class="tiles" aria-label="Results">{"".join(shown)}</section>'


def _judge_of(report: Mapping[str, Any]) -> str:
    kappa = section(report, "judge", "agreement", "kappa")
    return f" (judge's kappa {decimal(kappa['value'])})" if kappa else ""


def _tile(title: str, score: Mapping[str, Any], bad: bool) -> str:
    base = section(score, "base")
    beside = f"{percent(base['value'])} untouched<br>" if base else ""
    return tile(title, percent(score["value"]), f"{beside}{_between(score)}, n={score['n']}", "bad" if bad else "fine")


def _between(score: Mapping[str, Any], scale: float = 100.0) -> str:
    return f"{scale * score['low']:.1f} to {scale * score['high']:.1f}"


def _figures(rows: Sequence[Row]) -> Iterator[str]:
    for kind, measure, axis, end, scale in _CHARTS:
        bars = [
            (row.name, row.tuned, row.base)
            for row in rows
            if row.section == kind and row.measure == measure and row.base and not row.name.startswith("gap")
        ]
        if bars:
            chart = bar_chart(
                f"{kind}-{measure.replace(' ', '-')}",
                f"{TITLES[kind]}: {measure}",
                bars,
                axis,
                _COLOURS.get(kind, kind),
                end,
                scale,
            )
            yield figure(TITLES[kind], "Lines are 95% intervals.", chart)


def _table(rows: Sequence[Row], judge: Mapping[str, Any]) -> str:
    head = ("", "", "", "Checkpoint", "Untouched LLM", "Difference", "n")
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(
        f"<tr><td>{TITLES[row.section]}</td><td>{escape(row.name)}</td><td>{row.measure}</td>"
        f"<td>{scored(row.tuned, row.unit)}</td><td>{scored(row.base, row.unit)}</td>"
        f'<td class="{_state(row)}">{changed(row)}</td><td>{row.tuned["n"]}</td></tr>'
        for row in rows
    )
    judged = f'<p class="lead">{escape(trust(judge))}</p>' if judge else ""
    return (
        '<section><h2>All scores</h2><p class="lead">With 95% bootstrap intervals; rates and accuracies in percent.</p>'
        f"{judged}"
        f'<div class="card"><table class="languages"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'
        "</section>"
    )


def _state(row: Row) -> str:
    """Good or bad where the interval of the difference leaves out 0."""
    if not row.change or row.change["low"] is None or row.change["low"] <= 0 <= row.change["high"]:
        return "fine"
    return "good" if (row.change["value"] < 0) == (row.measure in LOWER_IS_BETTER) else "bad"


def _replies(report: Mapping[str, Any]) -> str:
    parts = []
    for name, found in _accuracies(report).items():
        for what in ("lost", "won"):
            if replies := found[what]:
                rows = "".join(
                    f"<tr><td>{prompt_words(reply['prompt'])}</td><td>{prompt_words(reply['base'])}</td>"
                    f"<td>{prompt_words(reply['tuned'])}</td></tr>"
                    for reply in replies
                )
                head = "".join(f'<th scope="col">{title}</th>' for title in ("Prompt", "Untouched LLM", "Checkpoint"))
                parts.append(
                    f"<h2>{escape(name)}: {len(replies)} {what}</h2>"
                    f'<table class="samples"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
                )
    return f"<details><summary>Text replies lost and won</summary>{''.join(parts)}</details>" if parts else ""


def _samples(samples: Sequence[Mapping[str, Any]]) -> str:
    if not samples:
        return ""
    lead = 'The first of each set; <span class="note">♪</span> is a clip.'
    table = samples_table(samples, ("Untouched LLM", "Checkpoint"))
    return f'<section><h2>Samples</h2><p class="lead">{lead}</p>{table}</section>'


def _accuracies(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found for name, found in section(report, "text").items() if found["measure"] == "accuracy"}
