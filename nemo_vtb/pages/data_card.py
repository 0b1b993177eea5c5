"""The page of a data card."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nemo_vtb.pages.charts import histogram
from nemo_vtb.pages.document import Figure, Tile, render
from nemo_vtb.reports.figures import duration, listed, percent

_LENGTHS = {
    "user_tokens": ("Length of user turns", "tokens"),
    "answer_tokens": ("Length of answers", "tokens"),
    "conversation_tokens": ("Length of conversations", "tokens, markup of the chat template included"),
    "clip_seconds": ("Length of clips", "seconds"),
}
_ROWS = {"bank": "sentences for a bank", "held_out": "held-out conversations"}
_LEFT_OUT = "A conversation whose later turn is unfit keeps what stood before it."


def render_card(
    card: Mapping[str, Any],
    shown: Mapping[str, Sequence[Mapping[str, Any]]],
    judged: Mapping[str, Mapping[str, str]],
    folder: Path,
    values: Mapping[str, Sequence[float]],
    raw_json: str,
) -> str:
    """Renders a card as a self-contained HTML page.

    Args:
        card: As ``data_card.write_card`` makes it.
        shown: Sampled ``clips`` and ``conversations``.
        judged: ``verdict`` and ``note`` by a sample's id.
        folder: What the clips' paths are relative to.
        values: Observed values by name.
        raw_json: The card as written.

    Raises:
        VTBError: If matplotlib is not installed and there is something to draw.
    """
    return render(
        "data_card",
        _headline(card),
        list(_cautions(card)),
        card["environment"],
        raw_json,
        figures=list(_tiles(card)),
        charts=list(_charts(values)),
        tables=list(_tables(card)),
        clips=shown["clips"],
        conversations=shown["conversations"],
        judged=judged,
        folder=folder,
        settings=list(card["settings"].items()),
    )


def _headline(card: Mapping[str, Any]) -> str:
    made = listed([f"{count:,} {_ROWS.get(name, name)}" for name, count in card["rows"].items()])
    return f"vtb synth {card['job']} began with {card['items']:,} items and made {made}."


def _cautions(card: Mapping[str, Any]) -> Iterator[str]:
    if not card["judgement"]:
        yield "Nobody has judged the samples yet: write judgement.jsonl beside this page, then run vtb synth card."
    elif wrong := card["judgement"].get("bad", 0):
        yield f"{wrong} of {sum(card['judgement'].values())} samples that were judged are bad."
    if card["bad"]:
        yield f"{sum(reason['count'] for reason in card['bad'].values())} items had bad input, for the reasons below."


def _tiles(card: Mapping[str, Any]) -> Iterator[Tile]:
    speed, cer = card["speed"], card["cer"]
    for name, count in card["rows"].items():
        yield Tile(name.replace("_", " ").capitalize(), f"{count:,}", ["rows"])
    if card["clips"]:
        yield Tile("Speech", f"{card['hours']:.2f} h", [f"{card['clips']:,} clips", f"{len(card['voices'])} voices"])
    if "kept" in cer:
        before = f" of {percent(cer['first']['mean'])} before the gate" if "first" in cer else ""
        yield Tile("Character error rate", percent(cer["kept"]["mean"]), [f"mean{before}"])
    if factors := speed["real_time_factor"]:
        each = [f"{name} {factor:.3f}" for name, factor in factors.items() if name != "tts"]
        yield Tile("Real-time factor", f"{factors.get('tts', 0):.2f}", ["of speaking", *each])
    if (rate := speed["rows_per_second"]) is not None:
        took = f"all processes together took {duration(speed['seconds'])}"
        yield Tile("Rows per second", f"{rate:.2f}", [took])
    if (rate := speed["llm_tokens_per_second"]) is not None:
        yield Tile("LLM", f"{rate:.0f} tokens/s", [f"{card['amounts']['llm_tokens']:,.0f} tokens"])


def _tables(card: Mapping[str, Any]) -> Iterator[tuple[str, str, str, list[tuple[str, str, str]]]]:
    """Title, note, what stands first in a row, and the rows, each with a count and a share."""
    for key, title, note in (("drops", "Left out", _LEFT_OUT), ("bad", "Bad input", "")):
        rows = [(reason, f"{one['count']:,}", percent(one["share"])) for reason, one in card[key].items()]
        yield title, note, "Reason", rows
    for key in ("voices", "languages", "categories", "exchanges"):
        total = sum(card[key].values())
        rows = [(str(name), f"{n:,}", percent(n / total)) for name, n in card[key].items()]
        yield key.capitalize(), "", key.capitalize(), rows


def _charts(values: Mapping[str, Sequence[float]]) -> Iterator[Figure]:
    for name, (title, axis) in _LENGTHS.items():
        if values.get(name):
            yield Figure(title, f"{len(values[name]):,} of them.", histogram(title, {"": values[name]}, axis))
    rates = {
        label: [min(rate, 1.0) for rate in values[name]]
        for name, label in (("cer.first", "before"), ("cer.kept", "after"))
        if values.get(name)
    }
    if rates:
        title = "Character error rate before and after the gate"
        chart = histogram(title, rates, "rate")
        yield Figure(title, "An ASR reads each clip back; 1 and more are one.", chart)
