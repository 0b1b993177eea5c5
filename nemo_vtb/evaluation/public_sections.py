"""The section ``public`` of ``eval.json``: benchmarks three ways, what could not be read, what was forgotten."""

from collections.abc import Mapping, Sequence
from typing import Any

from nemo_vtb.evaluation.ask import SIDES
from nemo_vtb.evaluation.items import Item
from nemo_vtb.evaluation.judging.judge import NoVerdict, Verdict
from nemo_vtb.evaluation.public.rules import RULES, sums_of
from nemo_vtb.evaluation.scoring.bootstrap import Drawing, difference, estimate, shares


def public_scores(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    """Scores of one set.

    Returns:
        ``rule`` and ``measure``; by form (``speech``, ``text``) ``value``, ``low``, ``high``, ``n``, those of the
        untouched LLM under ``base``, the difference under ``change``, and ``unmatched`` of each side. ``forgetting`` is
        the relative change from the untouched LLM on the words to the checkpoint on the clips, as Speech-IFEval has
        it. A set that only a judge can score has the judge's, and without one ``answers`` alone.
    """
    scored = [item for item in items if item.rule]
    judged = [item for item in items if not item.rule and item.verdicts]
    found: dict[str, Any] = {"answers": len(items), "unscored": len(items) - len(scored)}
    if not scored:
        return found | _by_judge(judged, drawing)
    rule = RULES[scored[0].rule]
    found |= {"rule": rule.about, "measure": rule.measure}
    for form in ("speech", "text"):
        group = [item for item in scored if item.asked.form == form]
        if group:
            found[form] = _beside(group, drawing)
    if "text" in found and (base := found["text"]["base"]["value"]):
        found["forgetting"] = (found["speech"]["value"] - base) / base
    return found


def _by_judge(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    """The share of answers that a judge finds right, over those on which it has a verdict for both sides."""
    found: dict[str, Any] = {}
    for form in ("speech", "text"):
        group = [item for item in items if item.asked.form == form]
        unread = {side: sum(isinstance(item.verdicts[side], NoVerdict) for item in group) for side in SIDES}
        pairs = [[verdict for side in SIDES if isinstance(verdict := item.verdicts[side], Verdict)] for item in group]
        if whole := [pair for pair in pairs if len(pair) == len(SIDES)]:
            sums = {side: shares([bool(pair[at].correct) for pair in whole]) for at, side in enumerate(SIDES)}
            change = difference(sums["tuned"], sums["base"], drawing)
            found[form] = {**estimate(sums["tuned"], drawing), "base": estimate(sums["base"], drawing),
                           "change": change, "unmatched": unread}  # fmt: skip
    if "speech" not in found:
        return {}
    if "text" in found and (base := found["text"]["base"]["value"]):
        found["forgetting"] = (found["speech"]["value"] - base) / base
    return {"rule": "what the judge of eval.judge says", "measure": "right by the judge", "unscored": 0, **found}


def _beside(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.rule, []).append(item)
    if len(groups) > 1:
        return _pooled(groups, drawing)
    (name,) = groups
    sums, unmatched = {}, {}
    for side in SIDES:
        sums[side], unmatched[side] = sums_of(RULES[name], [i.row for i in items], [i.said[side] for i in items])
    change = difference(sums["tuned"], sums["base"], drawing)
    return {**estimate(sums["tuned"], drawing), "base": estimate(sums["base"], drawing), "change": change,
            "unmatched": unmatched}  # fmt: skip


def _pooled(groups: Mapping[str, Sequence[Item]], drawing: Drawing) -> dict[str, Any]:
    """A set of rows with several rules, each of which gives a share of rows that are right."""
    rows = [item for group in groups.values() for item in group]
    sums = {side: shares([bool(item.right(side)) for item in rows]) for side in SIDES}
    unmatched = {side: sum(RULES[item.rule].mark(item.said[side], item.row) is None for item in rows) for side in SIDES}
    change = difference(sums["tuned"], sums["base"], drawing)
    return {**estimate(sums["tuned"], drawing), "base": estimate(sums["base"], drawing), "change": change,
            "unmatched": unmatched}  # fmt: skip
