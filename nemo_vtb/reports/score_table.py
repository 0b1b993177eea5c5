"""The table ``vtb eval`` prints."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nemo_vtb.reports.figures import MISSING, section

# How a score is written: shares and error rates in percent, sacrebleu's 0 to 100, perplexities and nats.
PERCENT, POINTS, PLAIN, COUNT = "percent", "points", "plain", "count"
_MEASURES = {
    "wer": ("word error rate", PERCENT),
    "cer": ("character error rate", PERCENT),
    "bleu": ("BLEU", POINTS),
    "chrf": ("chrF", POINTS),
    "em": ("exact match", PERCENT),
    "f1": ("token F1", PERCENT),
    "correct": ("judged correct", PERCENT),
    "redundancy": ("redundancy, 1 to 10", PLAIN),
    "accuracy": ("accuracy", PERCENT),
    "conversations": ("whole conversations", PERCENT),
    "perplexity": ("perplexity", PLAIN),
}
_SQA = ("em", "f1", "correct", "redundancy")
_FORMS = {
    "text": "written",
    "half": "half and half",
    "speech": "spoken",
    "gap": "gap: written − spoken",
    "gap_half": "gap: written − half",
}
LOWER_IS_BETTER = ("word error rate", "character error rate", "perplexity", "redundancy, 1 to 10")


@dataclass(frozen=True)
class Row:
    """One score.

    Attributes:
        section: ``asr``, ``ast``, ``sqa``, ``mixed``, ``multiturn``, ``text`` or ``probes``.
        name: Language, set, form or suite.
        measure: In words.
        unit: ``percent``, ``points`` or ``plain``.
        tuned: ``value``, ``low``, ``high`` and ``n`` of the checkpoint.
        base: The same of the untouched LLM; empty where there is none.
        change: Checkpoint minus untouched LLM, likewise.
    """

    section: str
    name: str
    measure: str
    unit: str
    tuned: Mapping[str, Any]
    base: Mapping[str, Any]
    change: Mapping[str, Any]


def rows_of(report: Mapping[str, Any]) -> list[Row]:
    """Flattens a report; sets stand behind the language or kind they are part of, where there are several."""
    return [
        *_by_language(report, "asr", ("wer", "cer")),
        *_by_language(report, "ast", ("bleu", "chrf")),
        *_with_sets("sqa", "questions about a clip", section(report, "sqa"), _SQA),
        *_mixed(section(report, "mixed")),
        *_public(section(report, "public")),
        *_with_sets("multiturn", "checked turns", section(report, "multiturn"), ("accuracy", "conversations")),
        *_text(section(report, "text")),
        *_probes(section(report, "probes")),
    ]


def _by_language(report: Mapping[str, Any], kind: str, measures: tuple[str, ...]) -> Iterator[Row]:
    for language, found in section(report, kind).items():
        yield from _with_sets(kind, language, found, measures)


def _with_sets(kind: str, name: str, found: Mapping[str, Any], measures: tuple[str, ...]) -> Iterator[Row]:
    yield from (_row(kind, name, measure, found[measure]) for measure in measures if measure in found)
    sets = section(found, "sets")
    if len(sets) > 1:
        for part, scores in sets.items():
            yield _row(kind, f"{name}, {part}", measures[0], scores[measures[0]])


def _mixed(found: Mapping[str, Any]) -> Iterator[Row]:
    sets = section(found, "sets")
    for name, forms in [("", found), *(sets.items() if len(sets) > 1 else ())]:
        for form, words in _FORMS.items():
            if form in forms:
                yield _row("mixed", f"{words}, {name}" if name else words, "accuracy", forms[form])


def _public(sets: Mapping[str, Any]) -> Iterator[Row]:
    """Spoken and written, both sides, unread answers apart; then what hearing costs against the untouched LLM."""
    for name, found in sets.items():
        for form, words in (("speech", "spoken"), ("text", "written")):
            if form not in found:
                continue
            scores = found[form]
            yield Row("public", f"{name}, {words}", found["measure"], PERCENT, scores, scores["base"], scores["change"])
            if any(scores["unmatched"].values()):
                tuned, base = ({"value": scores["unmatched"][side], "n": scores["n"]} for side in ("tuned", "base"))
                yield Row("public", f"{name}, {words}", "answers that could not be read", COUNT, tuned, base, {})
        if "forgetting" in found:
            value = {"value": found["forgetting"], "n": found["speech"]["n"]}
            yield Row("public", name, "spoken against the untouched LLM on the words", PERCENT, value, {}, {})


def _text(suites: Mapping[str, Any]) -> Iterator[Row]:
    for name, found in suites.items():
        measure, unit = _MEASURES[found["measure"]]
        drop = found["drop"]
        change = {"value": -drop["value"], "low": -drop["high"], "high": -drop["low"], "n": drop["n"]}
        # A perplexity's drop is a rise already, in nats.
        change = drop if found["measure"] == "perplexity" else change
        yield Row("text", name, measure, unit, found["tuned"], found["base"], change)
        if "kl" in found:
            yield Row("text", name, "KL to the untouched LLM", PLAIN, found["kl"], {}, {})


def _probes(probes: Mapping[str, Any]) -> Iterator[Row]:
    for name, found in probes.items():
        yield _row("probes", name.replace("_", " "), found["measure"], found)
        if against := found.get("against"):
            measure, unit = _MEASURES[found["measure"]]
            other = against["probe"].replace("_", " ")
            yield Row("probes", f"… − {other}", measure, unit, against, {}, {})


def _row(kind: str, name: str, measure: str, scores: Mapping[str, Any]) -> Row:
    words, unit = _MEASURES[measure]
    return Row(kind, name, words, unit, scores, scores.get("base", {}), scores.get("change", {}))


TITLES = {
    "asr": "Speech recognition",
    "ast": "Speech translation",
    "sqa": "Questions about speech",
    "mixed": "Written and spoken prompts",
    "public": "Public benchmarks",
    "multiturn": "Several turns",
    "text": "Text alone",
    "probes": "What no data teaches",
}
_HEAD = ("", "", "checkpoint", "untouched LLM", "difference", "n")


def table_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Yields the lines: a score with its 95 % interval, the untouched LLM's, the difference and the number of items."""
    rows = rows_of(report)
    cells = [
        (row.name, row.measure, scored(row.tuned, row.unit), scored(row.base, row.unit), changed(row), _items(row))
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(_HEAD, *cells, strict=True)]
    yield _line(_HEAD, widths)
    last = ""
    for row, line in zip(rows, cells, strict=True):
        if row.section != last:
            yield f"\n{TITLES[row.section]}"
            if row.section == "sqa" and "judge" in report:
                yield trust(report["judge"])
            last = row.section
        yield _line(line, widths)
    if told := list(cut_lines(report)):
        yield "\n" + "\n".join(told)
    if gate := report.get("gate"):
        yield f"\nGate: {'passed' if gate['passed'] else 'FAILED'}"


def cut_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Says of each set how many answers of the checkpoint ended at the most tokens that they may have."""
    limits = section(report, "decoding", "max_new_tokens")
    for name, counts in section(report, "decoding", "cut_off").items():
        if counts["tuned"]:
            yield (
                f"{name}: {counts['tuned']} of {counts['answers']} answers were cut off at max_new_tokens="
                f"{limits[name]} (untouched LLM: {counts['base']}); raise it where they are longer"
            )


def trust(judge: Mapping[str, Any]) -> str:
    """Says in a line who judged and how far to trust it."""
    found = judge["agreement"]
    left_out = f"; {len(judge['not_judged'])} replies of the judge not usable" if judge["not_judged"] else ""
    return (
        f"(judge: {judge['llm']['model']}, {judge['prompt']['version']}; of {found['kappa']['n']} labelled answers "
        f"{scored(found['accuracy'], PERCENT)} % judged alike, Cohen's kappa {scored(found['kappa'], PLAIN)}, "
        f"redundancy off by {scored(found['mae'], PLAIN)}{left_out})"
    )


def scored(score: Mapping[str, Any], unit: str) -> str:
    """Writes a score with its interval."""
    if not score:
        return MISSING
    if "low" not in score:
        return spelt(score["value"], unit)
    return f"{spelt(score['value'], unit)} [{spelt(score['low'], unit)}, {spelt(score['high'], unit)}]"


def changed(row: Row) -> str:
    """Writes a difference with its interval and signs."""
    if not row.change:
        return ""
    value, low, high = (spelt(row.change[key], row.unit, signed=True) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def spelt(value: float | None, unit: str, signed: bool = False) -> str:
    """Writes one number of a score."""
    if value is None or not math.isfinite(value):
        return MISSING
    sign = "+" if signed else ""
    if unit == COUNT:
        return str(int(value))
    shown = {PERCENT: f"{100 * value:{sign}.1f}", POINTS: f"{value:{sign}.1f}", PLAIN: f"{value:{sign}.3f}"}[unit]
    if not float(shown):
        return sign + shown.lstrip("+-")
    return shown.replace("-", "−")


def _items(row: Row) -> str:
    return str(row.tuned["n"])


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells[:-1], widths, strict=False)]
    return "  ".join(["", *padded, cells[-1].rjust(widths[-1])])
