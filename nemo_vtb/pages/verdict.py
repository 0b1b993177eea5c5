"""What the numbers say, in words: the headline of the page, and what to keep in mind while reading it."""

import math
from collections.abc import Mapping
from typing import Any

from nemo_vtb.reports.figures import (
    before_after,
    decimal,
    duration,
    language,
    listed,
    number,
    percent,
    points,
    section,
    unit_of,
)

USABLE_WER = 0.5
_USABLE_ACCURACY = 0.5
TEXT_DROP = 0.02
_WER_CHANGE = 0.05
_SKILLS = {
    "wer": "to transcribe speech",
    "sqa": "to answer questions about a clip",
    "mixed": "to follow requests that are partly written, partly spoken",
}


def chance(n: float | None) -> float:
    """Returns how far a share measured on ``n`` examples may be off by chance: half its 95% interval, at worst."""
    return 0.98 / math.sqrt(n) if n else 0.0


def gain(name: str, values: Mapping[str, Any]) -> tuple[float, bool] | None:
    """Judges a result.

    Args:
        name: ``wer``, where less is better, or the name of an accuracy.
        values: ``before``, ``after`` and ``n``.

    Returns:
        ``(gain, usable)``, the gain 0 where it may be chance; None where there is nothing to judge.
    """
    pair = before_after(values)
    if pair is None:
        return None
    before, after = pair
    if name == "wer":
        change, noise, usable = before - after, _WER_CHANGE, after <= USABLE_WER
    else:
        change, noise, usable = after - before, chance(number(values, "n")), after >= _USABLE_ACCURACY
    return (change if abs(change) > noise else 0.0), usable


def headline(report: Mapping[str, Any]) -> str:
    """Says in one sentence what the run taught, what it kept and how long it took."""
    diverged = [kind for kind, loss in section(report, "loss").items() if _not_finite(loss)]
    if diverged:
        return f"Training failed: the held-out loss of {listed(diverged)} is not a number."
    told: dict[str, list[str]] = {}
    for name, skill in _SKILLS.items():
        if outcome := _outcome(name, section(report, name)):
            verb, figures = outcome
            told.setdefault(verb, []).append(f"{skill} ({figures})")
    clauses = [f"{verb} {listed(skills)}" for verb, skills in told.items()]
    clauses += _text_clause(section(report, "text"))
    seconds = number(report, "seconds")
    time = f"In {duration(seconds)} the" if seconds is not None else "The"
    if not clauses:
        return f"{time} run finished, and nothing was measured."
    # Figures inside the clauses hold commas of their own, so the last clause is set off by one too.
    return f"{time} model {clauses[0] if len(clauses) == 1 else ', '.join(clauses[:-1]) + ', and ' + clauses[-1]}."


def cautions(report: Mapping[str, Any]) -> list[str]:
    """Lists, one sentence each, what in the numbers is bad or uncertain."""
    return [*_about_speech(report), *_about_text(report), *_about_training(report)]


def _outcome(name: str, values: Mapping[str, Any]) -> tuple[str, str] | None:
    judged = gain(name, values)
    if judged is None:
        return None
    change, usable = judged
    figures = f"{percent(number(values, 'before'))} → {percent(number(values, 'after'))}"
    figures = f"word error rate {figures}" if name == "wer" else f"{figures} right"
    if not usable:
        figures += ", above 50%" if name == "wer" else ", less than half"
    if change > 0:
        return ("learnt" if usable else "only began"), figures
    return ("is now worse than before when asked" if change < 0 else "did not learn"), figures


def _text_clause(text: Mapping[str, Any]) -> list[str]:
    pair = before_after(text, "score_")
    if pair is None:
        return []
    before, after = pair
    figures = f"({percent(before)} → {percent(after)} of the text suite)"
    if before - after > TEXT_DROP:
        return [f"lost some of its text skills {figures}"]
    return [f"kept its text skills {figures}"]


def _about_speech(report: Mapping[str, Any]) -> list[str]:
    told = []
    by_language = section(report, "wer", "by_language")
    rates = {language(code): number(section(by_language, code), "after") for code in by_language}
    if bad := [f"{name} ({percent(rate)})" for name, rate in rates.items() if rate is not None and rate > USABLE_WER]:
        told.append(f"The word error rate is above 50% in {listed(bad)}: those transcripts are not usable.")
    known, new = before_after(section(report, "wer")), before_after(section(report, "wer", "new_voice"))
    if known and new and new[1] - known[1] > 0.1:
        told.append(
            f"A voice that was never heard in training is harder: word error rate {percent(new[1])}, "
            f"against {percent(known[1])} over all held-out clips."
        )
    sizes = {name: number(section(report, name), "n") for name in ("sqa", "mixed", "text")}
    if few := {name: int(n) for name, n in sizes.items() if n and n < 100}:
        counts = listed([f"{n} of {name}" for name, n in few.items()])
        noise = 100 * chance(min(few.values()))
        told.append(f"Few examples ({counts}): a change of less than {noise:.0f} points can be chance.")
    return told


def _about_text(report: Mapping[str, Any]) -> list[str]:
    text = section(report, "text")
    divergence = number(text, "kl_to_base")
    pair = before_after(text, "score_")
    told = []
    if pair and pair[0] - pair[1] > TEXT_DROP:
        told.append(
            f"Plain text suffered ({points(pair[1] - pair[0])}): give the kind text a larger share of the blend."
        )
    if divergence is not None and divergence > 0.1:
        told.append(f"On plain text the model drifted from the untouched one: KL {decimal(divergence)} nats per token.")
    return told


def _about_training(report: Mapping[str, Any]) -> list[str]:
    told = []
    for kind, loss in section(report, "loss").items():
        first, last = number(loss, "first"), number(loss, "last")
        if first is not None and last is not None and last > first * 1.02:
            told.append(f"The held-out loss of {kind} rose: {decimal(first)} → {decimal(last)}.")
    rows = section(report, "history").get("train") or []
    broken = sum(any(_is_bad_loss(row, key) for key in row) for row in rows)
    if broken:
        told.append(f"The training loss was not a number at {broken} of {len(rows)} logged steps.")
    asked, realised = section(report, "asked_share"), section(report, "realised_share")
    unit = unit_of(report)
    for kind in asked:
        wanted, got = number(asked, kind), number(realised, kind)
        if wanted is not None and got is not None and abs(wanted - got) > 0.03:
            told.append(f"The blend gave {kind} {percent(got)} of the {unit} where {percent(wanted)} was asked.")
    padding = number(report, "padding_share")
    if padding is not None and padding > 0.1:
        told.append(f"{percent(padding)} of the positions were padding: the batches can be packed more tightly.")
    return told


def _is_bad_loss(row: Mapping[str, Any], key: str) -> bool:
    value = number(row, key) if key.startswith("loss_") else None
    return value is not None and not math.isfinite(value)


def _not_finite(loss: Any) -> bool:
    last = number(loss, "last") if isinstance(loss, Mapping) else None
    return last is not None and not math.isfinite(last)
