"""The page a person reads after a run: one HTML file that needs nothing beside it."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from nemo_vtb.pages.charts import curves, loss_chart, share_chart
from nemo_vtb.pages.retention_chart import retention_chart
from nemo_vtb.pages.samples import samples_table
from nemo_vtb.pages.tiles import language_table, tiles
from nemo_vtb.pages.verdict import cautions, headline
from nemo_vtb.reports.figures import MISSING, duration, number, section, unit_of

_TITLE = "Quickstart report · nemo_vtb"
# Nothing on the page may fetch or run anything, whatever a transcript holds.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; media-src data:; img-src data:"


def render_page(report: Mapping[str, Any], samples: Sequence[Mapping[str, Any]], raw_json: str) -> str:
    """Renders a report as a self-contained HTML page.

    Args:
        report: As in ``write_report``; sections whose keys are missing are left out or say so.
        samples: As in ``write_report``.
        raw_json: The report as written to ``report.json``, shown at the end.

    Raises:
        VTBError: If matplotlib is not installed and there is something to draw.
    """
    body = (
        f'{tiles(report)}\n<div class="figures">{_losses(report)}{_shares(report)}{_languages(report)}</div>\n'
        f"{_samples(samples)}\n{_details(report, raw_json)}"
    )
    return document(_TITLE, headline(report), cautions(report), body)


def document(title: str, headline: str, cautions: Sequence[str], body: str) -> str:
    """Returns a whole page.

    Args:
        title: Of the page, plain HTML.
        headline: What was found, in a sentence.
        cautions: What to keep in mind, a sentence each.
        body: HTML under the headline.
    """
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{title}</title><style>\n{style}</style></head>\n'
        f"<body><main><header><p>{title}</p><h1>{_unbroken(headline)}</h1>{_cautions(cautions)}</header>\n"
        f"{body}</main></body></html>\n"
    )


def figure(title: str, note: str, content: str) -> str:
    """Returns a chart or a table as a card with its title and a note."""
    return f"<figure><figcaption><h2>{title}</h2><p>{note}</p></figcaption>{content}</figure>"


def details(environment: Mapping[str, Any], raw_json: str, *more: str, name: str = "report.json") -> str:
    """Returns what few will read, folded up: the environment, more HTML and the raw numbers."""
    return (
        "<details><summary>Environment and raw numbers</summary>"
        f"{_pairs('Environment', list(_flat(environment)))}{''.join(more)}"
        f"<h2>{name}</h2><pre>{escape(raw_json)}</pre></details>"
    )


def _unbroken(sentence: str) -> str:
    """Escapes a sentence and keeps ``before → after`` on one line."""
    return escape(sentence).replace(" → ", "\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}")


def _cautions(sentences: Sequence[str]) -> str:
    told = "".join(f"<li>{_unbroken(sentence)}</li>" for sentence in sentences)
    return f'<ul class="cautions" aria-label="Read with care">{told}</ul>' if told else ""


def _losses(report: Mapping[str, Any]) -> str:
    history = section(report, "history")
    training = curves(history.get("train") or [], "loss_")
    held_out = curves(history.get("validation") or [], "val_loss_")
    drawn = ""
    if training:
        chart = loss_chart("training", "Training loss by kind over optimizer steps", training, raw=True)
        drawn += figure("Training loss", "Moving average; single steps thin behind it.", chart)
    if held_out:
        chart = loss_chart("held-out", "Held-out loss by kind over optimizer steps", held_out, raw=False)
        drawn += figure("Held-out loss", "On examples that are never trained on.", chart)
    label = "Points of text lost and divergence from the untouched LLM over optimizer steps"
    if chart := retention_chart("retention", label, history.get("validation") or []):
        drawn += figure("Text kept", "What the text suites lose against the untouched LLM; 0 is nothing.", chart)
    return drawn


def _shares(report: Mapping[str, Any]) -> str:
    asked, realised = section(report, "asked_share"), section(report, "realised_share")
    if not asked and not realised:
        return ""
    unit = unit_of(report)
    chart = share_chart("shares", f"Asked and realised share of {unit} by kind", asked, realised, unit)
    return figure("Blend", f"What the model was trained on, counted in {unit}.", chart)


def _languages(report: Mapping[str, Any]) -> str:
    by_language = section(report, "wer", "by_language")
    if not by_language:
        return ""
    return figure(
        "Word error rate by language",
        "Held-out clips; lower is better, and bars end at 100%.",
        language_table(by_language),
    )


def _samples(samples: Sequence[Mapping[str, Any]]) -> str:
    if not samples:
        return ""
    return (
        '<section><h2>Held-out examples</h2><p class="lead">What the model replied before and after training; '
        f'<span class="note">♪</span> is the clip.</p>{samples_table(samples)}</section>'
    )


def _details(report: Mapping[str, Any], raw_json: str) -> str:
    stages = section(report, "stages")
    times = [(name, duration(number(stages, name))) for name in stages]
    return details(section(report, "environment"), raw_json, _pairs("Time by stage", times))


def _pairs(title: str, pairs: Sequence[tuple[str, str]]) -> str:
    if not pairs:
        return ""
    rows = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in pairs)
    return f'<h2>{title}</h2><table class="pairs"><tbody>{rows}</tbody></table>'


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield key, MISSING if value is None else str(value)
