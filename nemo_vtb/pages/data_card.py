"""The page of a data card."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nemo_vtb.pages.charts import STAND_IN, svg_of
from nemo_vtb.pages.quickstart import details, document, figure
from nemo_vtb.pages.samples import player, prompt_words
from nemo_vtb.pages.tiles import tile
from nemo_vtb.reports.figures import duration, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLE = "Data card · nemo_vtb"
_BINS = 24
_LENGTHS = {
    "user_tokens": ("Length of user turns", "tokens"),
    "answer_tokens": ("Length of answers", "tokens"),
    "conversation_tokens": ("Length of conversations", "tokens, markup of the chat template included"),
    "clip_seconds": ("Length of clips", "seconds"),
}
_MARKS = {"good": "✓ good", "fair": "~ fair", "bad": "✗ bad"}


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
    body = (
        f'{_tiles(card)}<div class="figures">{"".join(_figures(values))}{"".join(_tables(card))}</div>'
        f"{_clips(shown['clips'], judged, folder)}{_conversations(shown['conversations'], judged, folder)}"
        f"{details(card['environment'], raw_json, _settings(card['settings']), name='card.json')}"
    )
    return document(_TITLE, _headline(card), list(_cautions(card)), body)


def _headline(card: Mapping[str, Any]) -> str:
    made = " and ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in card["rows"].items())
    return f"vtb synth {card['job']} began with {card['items']:,} items and made {made}."


def _cautions(card: Mapping[str, Any]) -> Iterator[str]:
    if not card["judgement"]:
        yield "Nobody has judged the samples yet: write judgement.jsonl beside this page, then run vtb synth card."
    elif wrong := card["judgement"].get("bad", 0):
        yield f"{wrong} of {sum(card['judgement'].values())} samples that were judged are bad."
    if card["bad"]:
        yield f"{sum(reason['count'] for reason in card['bad'].values())} items had bad input, for the reasons below."


def _tiles(card: Mapping[str, Any]) -> str:
    speed, cer = card["speed"], card["cer"]
    tiles = [
        tile(name.replace("_", " ").capitalize(), f"{count:,}", "rows", "fine") for name, count in card["rows"].items()
    ]
    if card["clips"]:
        voices = len(card["voices"])
        tiles.append(tile("Speech", f"{card['hours']:.2f} h", f"{card['clips']:,} clips<br>{voices} voices", "fine"))
    if "kept" in cer:
        before = f" of {percent(cer['first']['mean'])} before the gate" if "first" in cer else ""
        tiles.append(tile("Character error rate", percent(cer["kept"]["mean"]), f"mean{before}", "fine"))
    if factors := speed["real_time_factor"]:
        each = "<br>".join(f"{escape(name)} {factor:.3f}" for name, factor in factors.items() if name != "tts")
        tiles.append(tile("Real-time factor", f"{factors.get('tts', 0):.2f}", f"of speaking<br>{each}", "fine"))
    if (rate := speed["rows_per_second"]) is not None:
        tiles.append(
            tile("Rows per second", f"{rate:.2f}", f"all processes together took {duration(speed['seconds'])}", "fine")
        )
    if (rate := speed["llm_tokens_per_second"]) is not None:
        tiles.append(tile("LLM", f"{rate:.0f} tokens/s", f"{card['amounts']['llm_tokens']:,.0f} tokens", "fine"))
    return f'<section class="tiles" aria-label="Results">{"".join(tiles)}</section>'


def _figures(values: Mapping[str, Sequence[float]]) -> Iterator[str]:
    for name, (title, axis) in _LENGTHS.items():
        if values.get(name):
            yield figure(title, f"{len(values[name]):,} of them.", _histogram(name, title, {"": values[name]}, axis))
    rates = {
        label: values[name] for name, label in (("cer.first", "before"), ("cer.kept", "after")) if values.get(name)
    }
    if rates:
        title = "Character error rate before and after the gate"
        capped = {label: np.minimum(rate, 1.0) for label, rate in rates.items()}
        yield figure(
            title, "An ASR reads each clip back; 1 and more are one.", _histogram("cer", title, capped, "rate")
        )


def _histogram(name: str, label: str, series: Mapping[str, Any], axis: str) -> str:
    edges = np.histogram_bin_edges(np.concatenate([np.asarray(one, dtype=float) for one in series.values()]), _BINS)

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import MaxNLocator

        for place, (one, found) in enumerate(series.items()):
            counts, colour = np.histogram(found, edges)[0], STAND_IN["--kind-asr"]
            if place == 0:
                axes.stairs(counts, edges, color=colour, label=one, fill=True, alpha=0.45)
            else:
                axes.stairs(counts, edges, color=colour, label=one, linewidth=1.6)
        axes.set_xlabel(axis)
        axes.set_ylabel("how many")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        if len(series) > 1:
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(series))

    return svg_of(name.replace(".", "-"), label, draw)


def _tables(card: Mapping[str, Any]) -> Iterator[str]:
    for key, title in (("drops", "Left out"), ("bad", "Bad input")):
        if card[key]:
            rows = [(escape(reason), f"{one['count']:,}", percent(one["share"])) for reason, one in card[key].items()]
            note = "A conversation whose later turn is unfit keeps what stood before it." if key == "drops" else ""
            yield figure(title, note, _table(("Reason", "How often", "Share"), rows))
    for key, title in (
        ("voices", "Voices"),
        ("languages", "Languages"),
        ("categories", "Categories"),
        ("exchanges", "Exchanges"),
    ):
        if card[key]:
            total = sum(card[key].values())
            rows = [(escape(str(name)), f"{n:,}", percent(n / total)) for name, n in card[key].items()]
            yield figure(title, "", _table((title, "How many", "Share"), rows))


def _clips(clips: Sequence[Mapping[str, Any]], judged: Mapping[str, Mapping[str, str]], folder: Path) -> str:
    rows = "".join(
        f'<tr><td data-name="Clip">{player(folder / clip["path"])}<p class="absent">{escape(str(clip["voice"]))}, '
        f"{clip['seconds']:.1f} s<br>{escape(clip['id'])}</p></td>"
        f'<td data-name="Said">{prompt_words(clip["text"])}</td>'
        f'<td data-name="Judgement">{_judgement(judged.get(clip["id"]))}</td></tr>'
        for clip in clips
    )
    return _samples("Clips", ("Clip", "Said", "Judgement"), rows)


def _conversations(
    conversations: Sequence[Mapping[str, Any]], judged: Mapping[str, Mapping[str, str]], folder: Path
) -> str:
    rows = "".join(
        f'<tr><td data-name="Conversation"><p class="absent">{escape(row["id"])}<br>{_provenance(row)}</p></td>'
        f'<td data-name="Turns">{"".join(_turn(turn, folder) for turn in row["conversations"])}</td>'
        f'<td data-name="Judgement">{_judgement(judged.get(row["id"]))}</td></tr>'
        for row in conversations
    )
    return _samples("Conversations", ("Conversation", "Turns", "Judgement"), rows)


def _provenance(row: Mapping[str, Any]) -> str:
    return "<br>".join(f"{escape(str(key))}: {escape(str(value))}" for key, value in (row.get("custom") or {}).items())


def _turn(turn: Mapping[str, Any], folder: Path) -> str:
    role = f'<p class="absent">{escape(str(turn["from"]))}</p>'
    if turn.get("type") == "audio":
        return f"{role}{player(folder / turn['value'])}{prompt_words(str(turn.get('text') or ''))}"
    return role + prompt_words(str(turn["value"]))


def _judgement(one: Mapping[str, str] | None) -> str:
    if one is None:
        return '<p class="absent">not judged</p>'
    colour = one["verdict"] if one["verdict"] in ("good", "bad") else ""
    return f'<span class="mark {colour}">{_MARKS[one["verdict"]]}</span>{prompt_words(one["note"])}'


def _samples(title: str, names: Sequence[str], rows: str) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    lead = "Drawn by a hash of their ids, the same ones every time."
    return (
        f'<section style="margin-top: 2rem"><h2>{title}</h2><p class="lead">{lead}</p>'
        f'<table class="samples"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>'
    )


def _settings(settings: Mapping[str, Any]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(str(key))}</th><td>{escape(str(value))}</td></tr>'
        for key, value in settings.items()
    )
    return f'<h2>Settings</h2><table class="pairs"><tbody>{rows}</tbody></table>'


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    names = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="languages"><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>'
