"""The page of ``vtb data report``."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from operator import itemgetter
from typing import Any

from nemo_vtb.pages.charts import length_chart, share_chart
from nemo_vtb.pages.quickstart import details, document, figure
from nemo_vtb.pages.samples import clip_player, kind_chip, prompt_words
from nemo_vtb.pages.tiles import tile
from nemo_vtb.pages.verdict import language
from nemo_vtb.reports.figures import percent, unit_of

_TITLE = "Data report · nemo_vtb"
_FEW_POINTS = 1.0
_FEW_EPOCHS = 20
_EVEN = 1.05


def render_data_page(report: Mapping[str, Any], samples: Sequence[Mapping[str, Any]], raw_json: str) -> str:
    """Renders a data report as a self-contained HTML page.

    Args:
        report: As ``data_report`` writes it.
        samples: ``kind``, ``source``, ``id``, ``turns`` as ``(role, text)`` with ♪ for a clip, ``clips`` as FLAC.
        raw_json: The report as written to ``report.json``, shown at the end.

    Raises:
        VTBError: If matplotlib is not installed.
    """
    body = (
        f'{_tiles(report)}<div class="figures">{"".join(_figures(report))}</div>'
        f"{_sources(report)}{_drops(report)}{_samples(samples)}{details(report['environment'], raw_json)}"
    )
    return document(_TITLE, _headline(report), list(_cautions(report)), body)


def _headline(report: Mapping[str, Any]) -> str:
    error, unit = report["share_error_points"], unit_of(report)
    ranks = "1 rank" if report["ranks"] == 1 else f"{report['ranks']} ranks"
    return (
        f"Over {report['steps']} steps of {ranks} the shares of {unit} "
        f"{'stay within' if error <= _FEW_POINTS else 'are off by up to'} {error:.2f} points of what was asked."
    )


def _cautions(report: Mapping[str, Any]) -> Iterator[str]:
    if report["share_error_points"] > _FEW_POINTS:
        yield "The shares are not what was asked for: more steps even them out, or a kind has too few conversations."
    for source in report["sources"]:
        if source["epochs"] > _FEW_EPOCHS:
            name, epochs = f"{source['kind']}/{source['name']}", source["epochs"]
            yield f"{name} is gone through {epochs:.0f} times: expect it to be learnt by heart."
    if report["batches"]["rank_imbalance"] > _EVEN:
        yield f"One rank has {report['batches']['rank_imbalance']:.2f} times the mean work."
    if dropped := sum(drop["count"] for drop in report["drops"]):
        yield f"{dropped} rows are left out, for the reasons below."


def _tiles(report: Mapping[str, Any]) -> str:
    drawn = sum(source["drawn"] for source in report["sources"])
    held = sum(source["conversations"] for source in report["sources"])
    hours = sum(source["hours"] for source in report["sources"])
    batches, error = report["batches"], report["share_error_points"]
    made = report["steps"] * report["ranks"]
    dropped = sum(drop["count"] for drop in report["drops"])
    fill = batches["mean_positions"] / report["batch_tokens"]
    even = batches["rank_imbalance"]
    return (
        '<section class="tiles" aria-label="Results">'
        + tile(
            "Shares off by at most",
            f"{error:.2f} points",
            f"of {unit_of(report)}",
            "fine" if error <= _FEW_POINTS else "bad",
        )
        + tile("Conversations", f"{held:,}", f"{hours:.1f} h of audio<br>{drawn:,} drawn", "fine")
        + tile("Batches filled", percent(fill), f"of {report['batch_tokens']} positions", "fine")
        + tile("Busiest rank", f"{even:.3f} ×", "the mean work of a rank", "fine" if even <= _EVEN else "bad")
        + tile("Without audio", f"{batches['without_audio']}", f"of {made} batches", "fine")
        + tile("Rows left out", f"{dropped:,}", "reasons below" if dropped else "none", "bad" if dropped else "fine")
        + "</section>"
    )


def _figures(report: Mapping[str, Any]) -> Iterator[str]:
    unit = unit_of(report)
    chart = share_chart(
        "shares", f"Asked and realised share of {unit}", report["asked_share"], report["realised_share"], unit
    )
    yield figure("Blend", f"Counted in {unit}, over all steps and ranks.", chart)
    charts = {
        "positions": ("Length of conversations", "LLM positions, audio frames included.", "LLM positions"),
        "supervised": ("Length of what is learnt", "Positions that carry loss.", "supervised positions"),
        "audio_seconds": ("Length of audio", "All clips of a conversation together.", "seconds"),
    }
    for key, (title, note, axis) in charts.items():
        held = report["lengths"][key]
        if held["counts"]:
            yield figure(title, note, length_chart(key, title, held["edges"], held["counts"], axis))
    if report["languages"]:
        yield figure("Languages", "Of conversations that were read, some hundred of each source.", _languages(report))


def _languages(report: Mapping[str, Any]) -> str:
    rows = [
        (
            kind_chip(kind),
            escape(_named(code)),
            percent(found["conversations"] / max(1, total)),
            _hours(found["audio_seconds"]),
        )
        for kind, by_language in report["languages"].items()
        for total in [sum(found["conversations"] for found in by_language.values())]
        for code, found in sorted(by_language.items(), key=lambda item: -item[1]["conversations"])
    ]
    return _table(("Kind", "Language", "Conversations", "Audio read"), rows)


def _named(code: str) -> str:
    return " → ".join(language(part) for part in code.split(" → "))


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds else "–"


def _sources(report: Mapping[str, Any]) -> str:
    rows = [
        (
            kind_chip(source["kind"]),
            escape(source["name"]),
            f"{source['conversations']:,}",
            f"{source['hours']:.2f}",
            percent(source["weight"]),
            f"{source['drawn']:,}",
            f"{source['epochs']:.2f}",
        )
        for source in report["sources"]
    ]
    head = ("Kind", "Source", "Conversations", "Hours", "Share of the kind", "Drawn", "Epochs")
    return f"<section><h2>Sources</h2>{_card(_table(head, rows))}</section>"


def _drops(report: Mapping[str, Any]) -> str:
    if not report["drops"]:
        return ""
    rows = [
        (
            kind_chip(drop["kind"]),
            escape(drop["source"]),
            f"{drop['count']:,}",
            escape(drop["reason"]),
            escape(drop["first"]),
            escape(drop["remedy"]),
        )
        for drop in report["drops"]
    ]
    head = ("Kind", "Source", "Rows", "Reason", "First of them", "Remedy")
    return f"<section><h2>Left out</h2>{_card(_table(head, rows))}</section>"


def _samples(samples: Sequence[Mapping[str, Any]]) -> str:
    if not samples:
        return ""
    rows = "".join(
        f'<tr><td data-name="Sample">{kind_chip(sample["kind"])}<p class="absent">{escape(sample["source"])}<br>'
        f'{escape(sample["id"])}</p></td><td data-name="Asked">{_said(sample, False)}'
        f"{''.join(clip_player(clip, 'audio/flac') for clip in sample['clips'])}</td>"
        f'<td data-name="Answer">{_said(sample, True)}</td></tr>'
        for sample in samples
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Sample", "Asked", "Answer"))
    return (
        '<section><h2>Samples</h2><p class="lead">As they are drawn; <span class="note">♪</span> is a clip.</p>'
        f'<table class="samples"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>'
    )


def _said(sample: Mapping[str, Any], answers: bool) -> str:
    words = (
        " ".join(text for _, text in turns)
        for role, turns in groupby(sample["turns"], key=itemgetter(0))
        if (role == "assistant") == answers
    )
    return "".join(map(prompt_words, words))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="languages"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>'


def _card(content: str) -> str:
    return f'<div class="card">{content}</div>'
