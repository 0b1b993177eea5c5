"""The page of ``vtb data report``."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from nemo_vtb.pages.charts import length_chart, share_chart
from nemo_vtb.pages.document import Figure, Tile, render
from nemo_vtb.reports.figures import MISSING, language, percent, unit_of

_FEW_POINTS = 1.0
_FEW_EPOCHS = 20
_EVEN = 1.05
_LENGTHS = {
    "positions": ("Length of conversations", "LLM positions, audio frames included.", "LLM positions"),
    "supervised": ("Length of what is learnt", "Positions that carry loss.", "supervised positions"),
    "audio_seconds": ("Length of audio", "All clips of a conversation together.", "seconds"),
}


def render_data_page(report: Mapping[str, Any], samples: Sequence[Mapping[str, Any]], raw_json: str) -> str:
    """Renders a data report as a self-contained HTML page.

    Args:
        report: As ``data_report`` writes it.
        samples: ``kind``, ``source``, ``id``, ``turns`` as ``(role, text)`` with ♪ for a clip, ``clips`` as FLAC.
        raw_json: The report as written to ``report.json``, shown at the end.

    Raises:
        VTBError: If matplotlib is not installed.
    """
    return render(
        "data_report",
        _headline(report),
        list(_cautions(report)),
        report["environment"],
        raw_json,
        figures=_tiles(report),
        charts=list(_charts(report)),
        languages=list(_languages(report)),
        sources=[
            (
                *(one["kind"], one["name"], f"{one['conversations']:,}", f"{one['hours']:.2f}"),
                *(percent(one["weight"]), f"{one['drawn']:,}", f"{one['epochs']:.2f}"),
            )
            for one in report["sources"]
        ],
        drops=[
            (drop["kind"], drop["source"], f"{drop['count']:,}", drop["reason"], drop["first"], drop["remedy"])
            for drop in report["drops"]
        ],
        samples=[{**sample, "asked": _said(sample, False), "answers": _said(sample, True)} for sample in samples],
    )


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


def _tiles(report: Mapping[str, Any]) -> list[Tile]:
    sources, batches, error = report["sources"], report["batches"], report["share_error_points"]
    drawn, held, hours = (sum(source[key] for source in sources) for key in ("drawn", "conversations", "hours"))
    dropped = sum(drop["count"] for drop in report["drops"])
    fill = percent(batches["mean_positions"] / report["batch_tokens"])
    even = batches["rank_imbalance"]
    unit, made = unit_of(report), report["steps"] * report["ranks"]
    return [
        Tile("Shares off by at most", f"{error:.2f} points", [f"of {unit}"], error > _FEW_POINTS),
        Tile("Conversations", f"{held:,}", [f"{hours:.1f} h of audio", f"{drawn:,} drawn"]),
        Tile("Batches filled", fill, [f"of {report['batch_tokens']} positions"]),
        Tile("Busiest rank", f"{even:.3f} ×", ["the mean work of a rank"], even > _EVEN),
        Tile("Without audio", str(batches["without_audio"]), [f"of {made} batches"]),
        Tile("Rows left out", f"{dropped:,}", ["reasons below" if dropped else "none"], dropped > 0),
    ]


def _charts(report: Mapping[str, Any]) -> Iterator[Figure]:
    unit = unit_of(report)
    label = f"Asked and realised share of {unit}"
    chart = share_chart(label, report["asked_share"], report["realised_share"], unit)
    yield Figure("Blend", f"Counted in {unit}, over all steps and ranks.", chart)
    for key, (title, note, axis) in _LENGTHS.items():
        held = report["lengths"][key]
        if held["counts"]:
            yield Figure(title, note, length_chart(title, held["edges"], held["counts"], axis))


def _languages(report: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for kind, by_language in report["languages"].items():
        total = max(1, sum(found["conversations"] for found in by_language.values()))
        for code, found in sorted(by_language.items(), key=lambda item: -item[1]["conversations"]):
            name, seconds = " → ".join(map(language, code.split(" → "))), found["audio_seconds"]
            hours = f"{seconds / 3600:.2f}\N{NO-BREAK SPACE}h" if seconds else MISSING
            yield kind, name, percent(found["conversations"] / total), hours


def _said(sample: Mapping[str, Any], answers: bool) -> list[str]:
    """What one side says, a text for each of its turns."""
    return [
        " ".join(text for _, text in turns)
        for role, turns in groupby(sample["turns"], key=itemgetter(0))
        if (role == "assistant") == answers
    ]
