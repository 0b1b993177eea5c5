"""The page of ``vtb quickstart``: what a run taught, before and after."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nemo_vtb.pages.charts import curves, loss_chart, retention_chart, share_chart
from nemo_vtb.pages.document import Figure, render
from nemo_vtb.pages.verdict import TEXT_DROP, USABLE_WER, cautions, gain, headline
from nemo_vtb.reports.figures import before_after, duration, number, section, unit_of


def render_page(report: Mapping[str, Any], samples: Sequence[Mapping[str, Any]], raw_json: str) -> str:
    """Renders a report as a self-contained HTML page.

    Args:
        report: As in ``write_report``; sections whose keys are missing are left out or say so.
        samples: As in ``write_report``.
        raw_json: The report as written to ``report.json``, shown at the end.

    Raises:
        VTBError: If matplotlib is not installed and there is something to draw.
    """
    stages = section(report, "stages")
    times = {name: seconds for name in stages if (seconds := number(stages, name)) is not None}
    wer = section(report, "wer")
    return render(
        "quickstart",
        headline(report),
        cautions(report),
        section(report, "environment"),
        raw_json,
        results=[
            *_results("Word error rate", "wer", wer, "clips"),
            *_results("Questions about a clip", "sqa", section(report, "sqa"), "questions"),
            *_results("Mixed speech and text", "mixed", section(report, "mixed"), "requests"),
            _text(section(report, "text")),
        ],
        seconds=number(report, "seconds"),
        longest=max(times.items(), key=lambda stage: stage[1], default=None),
        stages=[(name, duration(number(stages, name))) for name in stages],
        charts=list(_charts(report)),
        languages=[_language_row(code, section(wer, "by_language", code)) for code in section(wer, "by_language")],
        samples=samples,
    )


def _results(title: str, name: str, values: Mapping[str, Any], unit: str) -> Iterator[dict[str, Any]]:
    """A result and those of its further groups of examples; languages have a table of their own."""
    yield _result(title, name, values, unit)
    for group in values:
        if isinstance(values[group], Mapping) and group != "by_language":
            told = "… of a voice new to it" if group == "new_voice" else f"{title}, {group}"
            yield _result(told, name, section(values, group), unit)


def _result(title: str, name: str, values: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """A share ``before`` and ``after`` training and what there is to say of it; neither where nothing was measured."""
    found = {"title": title, "unit": unit, "n": number(values, "n")}
    pair, judged = before_after(values), gain(name, values)
    if pair is None or judged is None:
        return found
    change, usable = judged
    limit = "" if usable else "over half" if name == "wer" else "under half"
    state = "good" if change > 0 else "bad" if change < 0 else "fine"
    return found | {
        "before": pair[0],
        "after": pair[1],
        "change": state,
        "limit": limit,
        "bad": bool(limit) or change < 0,
    }


def _text(text: Mapping[str, Any]) -> dict[str, Any]:
    """As ``_result``, with the divergence from the untouched LLM."""
    found = {"title": "Text suite", "unit": "prompts", "n": number(text, "n")}
    pair = before_after(text, "score_")
    if pair is None:
        return found
    lost = pair[0] - pair[1] > TEXT_DROP
    change = {"change": "bad" if lost else "fine", "bad": lost, "divergence": number(text, "kl_to_base")}
    return found | {"before": pair[0], "after": pair[1], **change}


def _language_row(code: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Error rates of a language, with the length of its bar, at most 1."""
    after = number(values, "after")
    shown = after if after is not None and math.isfinite(after) else 0.0
    rates = {"before": number(values, "before"), "after": after, "n": number(values, "n")}
    return {"code": code, **rates, "bar": min(shown, 1.0), "bad": shown > USABLE_WER}


def _charts(report: Mapping[str, Any]) -> Iterator[Figure]:
    history = section(report, "history")
    validation = history.get("validation") or []
    if training := curves(history.get("train") or [], "loss_"):
        chart = loss_chart("Training loss by kind over optimizer steps", training, raw=True)
        yield Figure("Training loss", "Moving average; single steps thin behind it.", chart)
    if held_out := curves(validation, "val_loss_"):
        chart = loss_chart("Held-out loss by kind over optimizer steps", held_out, raw=False)
        yield Figure("Held-out loss", "On examples that are never trained on.", chart)
    label = "Points of text lost and divergence from the untouched LLM over optimizer steps"
    if kept := retention_chart(label, validation):
        yield Figure("Text kept", "What the text suites lose against the untouched LLM; 0 is nothing.", kept)
    asked, realised = section(report, "asked_share"), section(report, "realised_share")
    if asked or realised:
        unit = unit_of(report)
        chart = share_chart(f"Asked and realised share of {unit} by kind", asked, realised, unit)
        yield Figure("Blend", f"What the model was trained on, counted in {unit}.", chart)
