"""The section ``public`` of ``eval.json``: benchmarks three ways, what could not be read, what was forgotten."""

from collections.abc import Callable, Sequence
from typing import Any

from nemo_vtb.evaluation.ask import SIDES
from nemo_vtb.evaluation.items import Item
from nemo_vtb.evaluation.judging.judge import NoVerdict, Verdict
from nemo_vtb.evaluation.public.rules import RULES, sums_of
from nemo_vtb.evaluation.scoring.bootstrap import Drawing, beside, shares

_Score = Callable[[Sequence[Item], Drawing], dict[str, Any]]


def public_scores(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    """Scores of one set.

    Returns:
        ``rule`` and ``measure``; by form (``speech``, ``text``) ``value``, ``low``, ``high``, ``n``, those of the
        untouched LLM under ``base``, the difference under ``change``, and ``unmatched`` of each side. ``forgetting`` is
        the relative change from the untouched LLM on the words to the checkpoint on the clips, as Speech-IFEval has
        it. A set that only a judge can score has the judge's, and without one ``answers`` alone.
    """
    scored = [item for item in items if item.rule]
    found: dict[str, Any] = {"answers": len(items), "unscored": len(items) - len(scored)}
    if scored:
        rule = RULES[scored[0].rule]
        found |= {"rule": rule.about, "measure": rule.measure, **_by_form(scored, _by_rule, drawing)}
    elif judged := _by_form([item for item in items if item.verdicts], _by_judge, drawing):
        if "speech" not in judged:
            return found
        found |= {"rule": "what the judge of eval.judge says", "measure": "right by the judge", "unscored": 0, **judged}
    if "text" in found and (base := found["text"]["base"]["value"]):
        found["forgetting"] = (found["speech"]["value"] - base) / base
    return found


def _by_form(items: Sequence[Item], score: _Score, drawing: Drawing) -> dict[str, Any]:
    groups = {form: [item for item in items if item.asked.form == form] for form in ("speech", "text")}
    found = {form: score(group, drawing) for form, group in groups.items() if group}
    return {form: scores for form, scores in found.items() if scores}


def _by_judge(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    """The share of answers that a judge finds right, over those on which it has a verdict for both sides."""
    unread = {side: sum(isinstance(item.verdicts[side], NoVerdict) for item in items) for side in SIDES}
    pairs = [[verdict for side in SIDES if isinstance(verdict := item.verdicts[side], Verdict)] for item in items]
    whole = [pair for pair in pairs if len(pair) == len(SIDES)]
    tuned, base = (shares([bool(pair[at].correct) for pair in whole]) for at in range(len(SIDES)))
    return beside(tuned, base, drawing) | {"unmatched": unread} if whole else {}


def _by_rule(items: Sequence[Item], drawing: Drawing) -> dict[str, Any]:
    """Scores by the rule of all rows; where they have several, the share of rows that are right by their own."""
    names = {item.rule for item in items}
    sums, unmatched = {}, {}
    for side in SIDES:
        if len(names) == 1:
            sums[side], unmatched[side] = sums_of(
                RULES[items[0].rule], [i.row for i in items], [i.said[side] for i in items]
            )
        else:
            sums[side] = shares([bool(item.right(side)) for item in items])
            unmatched[side] = sum(RULES[item.rule].mark(item.said[side], item.row) is None for item in items)
    return beside(sums["tuned"], sums["base"], drawing) | {"unmatched": unmatched}
