"""From the answers of a study's runs to the scores of its arms."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, log
from typing import Any

import numpy as np

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.scoring.bootstrap import Drawing
from nemo_vtb.evaluation.scoring.metrics import squad_normalise
from nemo_vtb.study.sampled import Sampled, complement, less, lost_share, mean, sampled, spread_of

# Rows of answers.jsonl.
Answers = Sequence[Mapping[str, Any]]
# Scores by arm and measure.
Scores = Mapping[str, Mapping[str, Sampled]]
# The arm that is the LLM before any training, asked in writing.
UNTOUCHED = "untouched"
_Key = tuple[str, str]


@dataclass(frozen=True)
class Measure:
    """What is measured.

    Attributes:
        title: In words.
        unit: ``percent`` or ``nats``.
        lower_is_better: Whether it is an error or a cost.
        relative: Whether seeds lie apart by a share of the score: of arms far from one another, the larger varies more.
    """

    title: str
    unit: str = "percent"
    lower_is_better: bool = False
    relative: bool = False


MEASURES = {
    "speech": Measure("speech skill"),
    "wer": Measure("word error rate", lower_is_better=True),
    "sqa": Measure("questions about speech"),
    "mixed_text": Measure("written prompts"),
    "mixed_half": Measure("half spoken prompts"),
    "mixed_speech": Measure("spoken prompts"),
    "gap": Measure("modality gap, written − spoken", lower_is_better=True),
    "forgot_text": Measure("forgetting rate in writing", lower_is_better=True),
    "forgot_speech": Measure("forgetting rate in speech", lower_is_better=True),
    "multiturn": Measure("turns of mixed conversations"),
    "multiturn_later": Measure("later turns of mixed conversations"),
    "text": Measure("text suites"),
    "choice": Measure("multiple choice"),
    "kl": Measure("KL to the untouched LLM", "nats", lower_is_better=True, relative=True),
    "bpb": Measure("held-out text, bits per byte", "bits", lower_is_better=True),
}


def scores_of(
    answers: Mapping[str, Sequence[Answers]],
    drawing: Drawing,
    apart: Sequence[str] = (),
    weights: Mapping[str, str] | None = None,
    seeds_of: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, dict[str, Sampled]]:
    """Scores by arm and measure; a set or suite that is not alone in its measure stands under ``MEASURE/SET`` too.

    ``speech`` is the mean of words that are right (1 minus the word error rate), questions about speech and half spoken
    prompts. ``multiturn_later`` leaves out the first answer of a conversation, which depends on no turn before it.
    ``forgot_text`` and ``forgot_speech`` of a set that is apart, whose answers no training teaches, are the shares that
    are lost of what the untouched LLM can do in writing.

    Args:
        answers: Of each arm one list of rows for each seed.
        drawing: How items and seeds are drawn.
        apart: Sets that count under ``MEASURE/SET`` only.
        weights: By arm the name of the arm whose weights it asks, where that is another.
        seeds_of: By arm its seeds, where they are not 0, 1, ...

    Raises:
        VTBError: If two runs were not asked the same.
    """
    tables = {arm: [_sums(rows, apart) for rows in seeds] for arm, seeds in answers.items()}
    asked: dict[str, list[_Key]] = {}
    found: dict[str, dict[str, Sampled]] = {}
    names = {arm: (weights or {}).get(arm, arm) for arm in tables}
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    for arm, seeds in tables.items():
        scores = found[arm] = {}
        for name in seeds[0]:
            keys = asked.setdefault(name, sorted(seeds[0][name]))
            if any(sorted(table.get(name, ())) != keys for table in seeds):
                raise VTBError(f"the runs of the arm '{arm}' were not asked the same as others in '{name}'")
            items = [np.asarray([table[name][key] for key in keys], dtype=np.float64) for table in seeds]
            share, most = not name.startswith(("kl", "bpb")), inf if measure_of(name).lower_is_better else 1.0
            ids = (seeds_of or {}).get(arm)
            scores[name] = sampled(items, drawing, numbers[names[arm]], share, ids, most)
        for of_set in ("", *(f"/{name}" for name in apart)):
            written, spoken = f"mixed_text{of_set}", f"mixed_speech{of_set}"
            if {written, spoken} <= scores.keys() and asked[written] == asked[spoken]:
                scores[f"gap{of_set}"] = less(scores[written], scores[spoken])
        if {"wer", "sqa", "mixed_half"} <= scores.keys():
            scores["speech"] = mean([complement(scores["wer"]), scores["sqa"], scores["mixed_half"]])
    for arm in found:
        if arm != UNTOUCHED:
            found[arm] |= _forgotten(found[arm], found.get(UNTOUCHED, {}), asked, apart)
    return _with_spread(found, [arm for arm in found if names[arm] == arm != UNTOUCHED])


def measure_of(name: str) -> Measure:
    """The measure of a score's name, which may be that of one set."""
    return MEASURES[name.partition("/")[0]]


def title_of(name: str) -> str:
    """What a score is called in words: its measure, and the set where it is of one alone."""
    _, slash, of_set = name.partition("/")
    return measure_of(name).title + (f" ({of_set})" if slash else "")


def _with_spread(found: dict[str, dict[str, Sampled]], trained: Sequence[str]) -> dict[str, dict[str, Sampled]]:
    """The scores of all arms but the untouched LLM with how far those that were trained lie apart."""
    names = dict.fromkeys(name for scores in found.values() for name in scores)
    spreads = {
        name: spread_of([found[arm][name] for arm in trained if name in found[arm]], measure_of(name).relative)
        for name in names
    }
    return {
        arm: {
            name: score if arm == UNTOUCHED else replace(score, spread=spreads[name].at(score.value))
            for name, score in scores.items()
        }
        for arm, scores in found.items()
    }


def _forgotten(
    scores: Mapping[str, Sampled],
    untouched: Mapping[str, Sampled],
    asked: Mapping[str, Sequence[_Key]],
    apart: Sequence[str],
) -> dict[str, Sampled]:
    """Forgetting rates, as Speech-IFEval has them: what is lost of the untouched LLM's score in writing."""
    found = {}
    for of_set in apart:
        base = f"mixed_text/{of_set}"
        for form in ("text", "speech"):
            name = f"mixed_{form}/{of_set}"
            if base in untouched and name in scores and asked[name] == asked[base]:
                found[f"forgot_{form}/{of_set}"] = lost_share(scores[name], untouched[base])
    return found


def chance_of(rows: Answers) -> dict[str, float]:
    """What always giving the commonest answer would score, for measures whose answers are compared with a reference."""
    references = [squad_normalise(row["reference"]) for row in rows if row["kind"] == "sqa"]
    return {"sqa": Counter(references).most_common(1)[0][1] / len(references)} if references else {}


def same_replies(rows: Answers, others: Answers) -> tuple[int, int]:
    """How many prompts that are all in writing two runs answer alike to the letter, and how many there are."""
    theirs = {_place(row): row["said"] for row in others if _written(row)}
    ours = {_place(row): row["said"] for row in rows if _written(row)}
    shared = ours.keys() & theirs.keys()
    return sum(ours[key] == theirs[key] for key in shared), len(shared)


def _sums(rows: Answers, apart: Sequence[str]) -> dict[str, dict[_Key, list[float]]]:
    """By measure and item: an amount and what it is out of."""
    table: dict[str, dict[_Key, list[float]]] = {}
    totals: dict[str, set[str]] = {}
    for row in rows:
        for measure, sums in _measured(row):
            own = f"{measure}/{row['set']}"
            table.setdefault(own, {})[row["set"], row["id"]] = sums
            if row["set"] not in apart:
                table.setdefault(measure, {})[row["set"], row["id"]] = sums
                totals.setdefault(measure, set()).add(own)
    alone = {name for parts in totals.values() if len(parts) == 1 for name in parts}
    return {name: items for name, items in table.items() if name not in alone}


def _measured(row: Mapping[str, Any]) -> Iterator[tuple[str, list[float]]]:
    kind = row["kind"]
    if kind == "likelihood":
        yield "kl", [row["kl"], row["tokens"]]
        if "bytes" in row:
            yield "bpb", [row["tuned"] / log(2), row["bytes"]]
    elif kind == "multiturn":
        for name, marks in (("multiturn", row["right"]), ("multiturn_later", row["right"][1:])):
            checked = [mark for mark in marks if mark is not None]
            yield name, [sum(checked), len(checked)]
    else:
        yield f"mixed_{row['form']}" if kind == "mixed" else _NAMES[kind], row["score"]


def _written(row: Mapping[str, Any]) -> bool:
    return row["kind"] == "text" or (row["kind"] == "mixed" and row["form"] == "text")


def _place(row: Mapping[str, Any]) -> _Key:
    return row["set"], row["id"]


_NAMES = {"asr": "wer", "sqa": "sqa", "text": "text", "choices": "choice"}
