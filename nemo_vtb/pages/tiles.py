"""The row of figures at the top of the page, and the table of word error rates by language."""

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from nemo_vtb.pages.verdict import TEXT_DROP, USABLE_WER, gain, language
from nemo_vtb.reports.figures import MISSING, before_after, decimal, duration, number, percent, points, section

_KL = "Kullback-Leibler divergence from the untouched model on plain text, in nats per token"


def tiles(report: Mapping[str, Any]) -> str:
    """Renders one tile per result; one that was not measured says so."""
    wer, new_voice = section(report, "wer"), section(report, "wer", "new_voice")
    return (
        '<section class="tiles" aria-label="Results">'
        + _result("Word error rate", "wer", wer, "clips")
        + _result("… of a voice new to it", "wer", new_voice, "clips")
        + _result("Questions about a clip", "sqa", section(report, "sqa"), "questions")
        + _result("Mixed speech and text", "mixed", section(report, "mixed"), "requests")
        + _text(section(report, "text"))
        + _time(report)
        + "</section>"
    )


def language_table(by_language: Mapping[str, Any]) -> str:
    """Renders word error rates by language, a bar beside each; bars end at 100%."""
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Language", "Before", "After", "", "Clips"))
    rows = "".join(_language_row(code, section(by_language, code)) for code in by_language)
    return f'<table class="languages"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _language_row(code: str, values: Mapping[str, Any]) -> str:
    after, n = number(values, "after"), number(values, "n")
    shown = after if after is not None and math.isfinite(after) else 0.0
    state = "bad" if shown > USABLE_WER else "fine"
    bar = f'<span class="bar {state}" style="width: {100 * min(shown, 1.0):.1f}%"></span>'
    return (
        f'<tr><th scope="row">{escape(language(code))}</th><td>{percent(number(values, "before"))}</td>'
        f'<td class="{state}">{percent(after)}</td><td class="track">{bar}</td><td>{_count(n)}</td></tr>'
    )


def _result(title: str, name: str, values: Mapping[str, Any], unit: str) -> str:
    pair, judged = before_after(values), gain(name, values)
    if pair is None or judged is None:
        return tile(title, "not measured", "", "unmeasured")
    (before, after), (change, usable) = pair, judged
    limit = "" if usable else f', <span class="bad">{"over" if name == "wer" else "under"} half</span>'
    count = f"{_count(number(values, 'n'))} {unit}"
    detail = f'<span class="{_state(change)}">{points(after - before)}</span>{limit}<br>{count}'
    return tile(title, f"{_from(before)}{percent(after)}", detail, "fine" if usable and change >= 0 else "bad")


def _text(text: Mapping[str, Any]) -> str:
    pair = before_after(text, "score_")
    if pair is None:
        return tile("Text suite", "not measured", "", "unmeasured")
    before, after = pair
    state = "fine" if before - after <= TEXT_DROP else "bad"
    detail = (
        f'<span class="{state}">{points(after - before)}</span><br>{_count(number(text, "n"))} prompts, '
        f'<abbr title="{_KL}">KL</abbr> {decimal(number(text, "kl_to_base"))}'
    )
    return tile("Text suite", f"{_from(before)}{percent(after)}", detail, state)


def _time(report: Mapping[str, Any]) -> str:
    stages = section(report, "stages")
    times = {name: seconds for name in stages if (seconds := number(stages, name)) is not None}
    longest = max(times, key=times.__getitem__, default=None)
    detail = "" if longest is None else f"longest: {escape(longest)}<br>{duration(times[longest])}"
    return tile("Time", duration(number(report, "seconds")), detail, "fine")


def tile(name: str, value: str, detail: str, state: str) -> str:
    """Renders one figure; ``state`` is ``fine``, ``bad`` or ``unmeasured``."""
    return f'<div class="tile {state}"><h3>{name}</h3><p class="value">{value}</p><p class="detail">{detail}</p></div>'


def _from(before: float) -> str:
    return f'<span class="from">{percent(before)} →</span> '


def _state(change: float) -> str:
    return "good" if change > 0 else "bad" if change < 0 else "fine"


def _count(n: float | None) -> str:
    return MISSING if n is None else f"{n:g}"
