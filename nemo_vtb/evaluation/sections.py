"""From answers to the sections of ``eval.json``: every score with its interval, tuned and base side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nemo_vtb.evaluation.ask import SIDES, Answers
from nemo_vtb.evaluation.items import Item, items_of, measures, passed
from nemo_vtb.evaluation.public_sections import public_scores
from nemo_vtb.evaluation.retention.divergence import answer_bytes
from nemo_vtb.evaluation.scoring.bootstrap import (
    Drawing,
    Sums,
    beside,
    clustered,
    difference,
    estimate,
    rate,
    ratio,
    shares,
)
from nemo_vtb.evaluation.sets.mixed_forms import FORMS
from nemo_vtb.evaluation.sets.plan import Plan

# The score that stands for a probe of a kind.
_OF_PROBE = {"asr": "wer", "ast": "chrf", "sqa": "em", "mixed": "accuracy"}


def sections(plan: Plan, answers: Answers, drawing: Drawing) -> dict[str, Any]:
    """Returns ``asr``, ``ast``, ``sqa``, ``mixed``, ``public``, ``multiturn``, ``text``, ``probes``, as far as asked.

    A score is ``value``, ``low``, ``high`` and ``n``, with the untouched LLM's under ``base`` and the difference to it
    under ``change``. ``text`` has ``tuned``, ``base`` and ``drop`` instead, and the replies that were lost and won.
    """
    items = items_of(plan, answers)
    plain = {
        kind: [item for item in items if item.asked.kind == kind and not item.asked.probe]
        for kind in ("asr", "ast", "sqa", "mixed", "text", "public")
    }
    found: dict[str, Any] = {
        kind: {language: _with_sets(group, drawing) for language, group in _grouped(plain[kind], "language").items()}
        for kind in ("asr", "ast")
    }
    found["sqa"] = _with_sets(plain["sqa"], drawing) if plain["sqa"] else {}
    found["mixed"] = _mixed(plain["mixed"], drawing)
    found["public"] = {name: public_scores(group, drawing) for name, group in _grouped(plain["public"], "set").items()}
    found["multiturn"] = _multiturn(plan, answers, drawing)
    suites = {part.name: [item for item in plain["text"] if item.asked is part] for part in plan.questions}
    found["text"] = {
        **{name: _suite(suite, drawing) for name, suite in suites.items() if suite},
        **{name: _choices(plan, answers, name, drawing) for name in plan.choices},
        **{name: _chats(rows, plan.chats[name], drawing) for name, rows in answers.chats.items()},
    }
    found["probes"] = _probes([item for item in items if item.asked.probe], drawing)
    return {key: section for key, section in found.items() if section}


def cut_off(plan: Plan, answers: Answers) -> dict[str, dict[str, int]]:
    """How many answers have as many tokens as their set lets them have, by set and side, beside how many there are.

    Sets without one are left out.
    """
    found: dict[str, dict[str, int]] = {}
    for side in SIDES:
        whole = [(part.name, list(said)) for part, said in zip(plan.questions, answers.questions[side], strict=True)]
        whole += [
            (talk.name, [turn for turns in said for turn in turns])
            for talk, said in zip(plan.scripts, answers.scripts[side], strict=True)
        ]
        for name, said in whole:
            counts = found.setdefault(name, dict.fromkeys((*SIDES, "answers"), 0))
            counts[side] += sum(getattr(answer, "cut", False) for answer in said)
            counts["answers"] += len(said) if side == SIDES[0] else 0
    return {name: counts for name, counts in found.items() if any(counts[side] for side in SIDES)}


def scores(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    """All scores of prompts of one kind and, for recognition and translation, one language."""
    tuned, base = (measures(items, side) for side in SIDES)
    return {name: beside(sums, base[name][0], drawing) | about for name, (sums, about) in tuned.items()}


def _with_sets(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    by_set = _grouped(items, "set")
    pooled = scores(items, drawing)
    return pooled | {"sets": {name: scores(group, drawing) for name, group in by_set.items()}}


def _mixed(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    """Accuracy by form over the prompts that have every form, and by set over all that a set has."""
    if not items:
        return {}
    forms: dict[tuple[str, str], set[str]] = {}
    for item in items:
        forms.setdefault((item.asked.name, item.id), set()).add(item.asked.form)
    most = set().union(*forms.values())
    whole = [item for item in items if forms[item.asked.name, item.id] == most]
    by_set = {name: _forms(group, drawing) for name, group in _grouped(items, "set").items()}
    return _forms(whole or items, drawing) | {"sets": by_set}


def _forms(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    by_form = {form: {(i.asked.name, i.id): i for i in items if i.asked.form == form} for form in FORMS}
    found = {form: scores(list(rows.values()), drawing)["accuracy"] for form, rows in by_form.items() if rows}
    for name, other in (("gap", "speech"), ("gap_half", "half")):
        if pairs := [key for key in by_form["text"] if key in by_form[other]]:
            written, heard = ([by_form[form][key] for key in pairs] for form in ("text", other))
            sides = {side: difference(passed(written, side), passed(heard, side), drawing) for side in SIDES}
            found[name] = sides["tuned"] | {"base": sides["base"]}
    return found


def _multiturn(plan: Plan, answers: Answers, drawing: Drawing) -> dict[str, Any]:
    found: dict[str, Any] = {}
    everything: dict[str, list[list[bool]]] = {side: [] for side in SIDES}
    for number, part in enumerate(plan.scripts):
        marks = {
            side: [
                [bool(right) for right in script.right(said) if right is not None]
                for script, said in zip(part.scripts, answers.scripts[side][number], strict=True)
            ]
            for side in SIDES
        }
        found[part.name] = _turns(marks, drawing)
        for side in SIDES:
            everything[side] += marks[side]
    return _turns(everything, drawing) | {"sets": found} if found else {}


def _turns(marks: Mapping[str, Sequence[Sequence[bool]]], drawing: Drawing) -> dict[str, Any]:
    """Accuracy over checked turns, drawn by conversation, and over whole conversations."""
    owners = [number for number, turns in enumerate(marks["tuned"]) for _ in turns]
    single = {side: clustered(shares([right for turns in marks[side] for right in turns]), owners) for side in SIDES}
    whole = {side: shares([all(turns) for turns in marks[side]]) for side in SIDES}
    return {
        "accuracy": beside(single["tuned"], single["base"], drawing, len(owners)),
        "conversations": beside(whole["tuned"], whole["base"], drawing),
    }


def _suite(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    return _lost_and_won({side: passed(items, side) for side in SIDES}, list(map(_reply, items)), drawing)


def _choices(plan: Plan, answers: Answers, name: str, drawing: Drawing) -> dict[str, Any]:
    """Accuracy of multiple choice by likelihood."""
    asked = plan.choices[name]
    picked = {
        side: [one.chosen(nats) for one, nats in zip(asked, answers.choices[side][name], strict=True)] for side in SIDES
    }
    shown = {
        side: shares([choice.answer == place for choice, place in zip(asked, places, strict=True)])
        for side, places in picked.items()
    }
    replies = [
        {"id": one.id, "prompt": one.prompt, "tuned": one.options[now], "base": one.options[before]}
        for one, now, before in zip(asked, picked["tuned"], picked["base"], strict=True)
    ]
    return _lost_and_won(shown, replies, drawing)


def _lost_and_won(shown: Mapping[str, Sums], replies: Sequence[dict[str, Any]], drawing: Drawing) -> dict[str, Any]:
    """Accuracy of both sides, with the replies that are right on one side only."""
    right = {side: shown[side].items[:, 0] > 0 for side in SIDES}
    return {
        "measure": "accuracy",
        "tuned": estimate(shown["tuned"], drawing),
        "base": estimate(shown["base"], drawing),
        "drop": difference(shown["base"], shown["tuned"], drawing),
        "lost": [replies[place] for place in np.flatnonzero(right["base"] & ~right["tuned"]).tolist()],
        "won": [replies[place] for place in np.flatnonzero(right["tuned"] & ~right["base"]).tolist()],
    }


def _chats(rows: np.ndarray, chats: Sequence[Any], drawing: Drawing) -> dict[str, Any]:
    """Perplexities; the drop is how many nats a token costs more than the untouched LLM, so more is worse here too."""
    tokens, tuned, base, divergence = rows.T
    nats = {side: np.stack([values, tokens], axis=1) for side, values in (("tuned", tuned), ("base", base))}
    size = np.array([answer_bytes(chat) for chat in chats], dtype=np.float64)
    bits = {side: Sums(np.stack([n[:, 0] / np.log(2), size], axis=1), rate) for side, n in nats.items()}
    return {
        "measure": "perplexity",
        "tuned": estimate(Sums(nats["tuned"], _perplexity), drawing),
        "base": estimate(Sums(nats["base"], _perplexity), drawing),
        "drop": difference(Sums(nats["tuned"]), Sums(nats["base"]), drawing) | {"unit": "nats a token"},
        "kl": estimate(Sums(np.stack([divergence, tokens], axis=1), rate), drawing),
        "bits_per_byte": beside(bits["tuned"], bits["base"], drawing),
    }


def _probes(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    by_set = _grouped(items, "set")
    found = {}
    for name, group in by_set.items():
        measure = _OF_PROBE[group[0].asked.kind]
        made = scores(group, drawing)
        found[name] = {"measure": measure, **made[measure]}
        if other := group[0].asked.against:
            found[name]["against"] = {"probe": other, **_against(group, by_set[other], measure, drawing)}
    return found


def _against(items: Sequence[Item], others: Sequence[Item], measure: str, drawing: Drawing) -> dict[str, Any]:
    """The tuned model on these prompts minus the tuned model on the others, row by row."""
    by_id = {item.id: item for item in others}
    paired = [by_id[item.id] for item in items]
    return difference(measures(items, "tuned")[measure][0], measures(paired, "tuned")[measure][0], drawing)


def _perplexity(sums: np.ndarray) -> np.ndarray:
    return np.exp(ratio(sums))


def _reply(item: Item) -> dict[str, Any]:
    return {"id": item.id, "prompt": item.task.conversation.turns[0].value, **item.said}


def _grouped(items: Sequence[Item], by: str) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.asked.name if by == "set" else item.language, []).append(item)
    return groups
