"""Rules on the scores of a study, each with whether it holds and the numbers in a sentence."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.options import Key
from nemo_vtb.study.sampled import Difference, Sampled, difference
from nemo_vtb.study.scores import MEASURES, UNTOUCHED, Scores, measure_of, title_of

_RULES = {
    "above": Key("float or chance", "The whole interval is above it.", None),
    "below": Key("float or chance", "The whole interval is below it.", None),
    "better_than": Key("an arm", "It is better than that arm.", None),
    "worse_than": Key("an arm", "It is worse than that arm.", None),
    "loses_at_most": Key("float", "The whole interval of the loss against the arm of is at most that.", None),
    "says_as": Key("untouched", "Replies to written prompts are the untouched LLM's, to the letter.", None),
    "better_along": Key("a list of arms", "From worst to best: every step is one up, and the ends differ.", None),
}
KEYS = {
    "measure": Key("a measure", "Of the study's table.", None),
    "arm": Key("an arm", "Whose numbers; untouched is the LLM before training.", None),
    "of": Key("an arm", "What loses_at_most is held against.", None),
    **_RULES,
}


@dataclass(frozen=True)
class Facts:
    """What claims are judged on.

    Attributes:
        scores: By arm and measure; ``untouched`` is one of the arms.
        titles: Of the arms.
        chance: By measure, what the commonest answer scores.
        replies: By arm: prompts answered to the letter as the untouched LLM does, and all of them, over the seeds.
    """

    scores: Scores
    titles: Mapping[str, str]
    chance: Mapping[str, float]
    replies: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Evidence:
    """Whether a rule holds, and the numbers in a sentence."""

    holds: bool
    said: str


def check_rule(rule: Mapping[str, Any], where: str, arms: Sequence[str]) -> None:
    """Refuses a rule that could not be applied.

    Raises:
        VTBError: Names the key.
    """
    check_keys(rule, KEYS, where)
    given = [key for key in _RULES if key in rule]
    if len(given) != 1:
        raise VTBError(f"{where} needs one of {', '.join(_RULES)}")
    if given[0] != "better_along" and "arm" not in rule:
        raise VTBError(f"{where} names no arm")
    if given[0] != "says_as" and str(rule.get("measure")).partition("/")[0] not in MEASURES:
        raise VTBError(f"{where}.measure is {rule.get('measure')!r}; it may be {', '.join(MEASURES)}")
    if given[0] == "says_as" and (rule["says_as"] != UNTOUCHED or rule["arm"] == UNTOUCHED):
        raise VTBError(f"{where}.says_as: the replies of a trained arm are compared with {UNTOUCHED}'s")
    for arm in arms_of(rule):
        if arm not in arms:
            raise VTBError(f"{where} names the arm {arm!r}; the arms are {', '.join(arms)}")
    if given[0] == "loses_at_most" and "of" not in rule:
        raise VTBError(f"{where} needs the arm that it is compared with, as of")
    limit = next((rule[key] for key in ("above", "below", "loses_at_most") if key in rule), 0)
    if not isinstance(limit, int | float) and (limit != "chance" or "loses_at_most" in rule):
        raise VTBError(f"{where}.{given[0]} is {limit!r}; it is a number, or chance for above and below")


def evidence(rule: Mapping[str, Any], facts: Facts) -> Evidence:
    """Applies a rule.

    It has ``measure``, ``arm`` and one of:

    * ``above``, ``below``: a number or ``chance``; the whole interval is there.
    * ``better_than``, ``worse_than``: an arm; see ``compared``.
    * ``loses_at_most``: a number, and an arm as ``of``; the whole interval of the loss is at most that.
    * ``says_as``: ``untouched``, whose replies to written prompts are its own, to the letter (needs no ``measure``).
    * ``better_along``: arms from worst to best (needs no ``arm``); every step is one up, and the ends differ.
    """
    (name,) = [key for key in _RULES if key in rule]
    arms = arms_of(rule)
    if "measure" in rule and (absent := [arm for arm in arms if rule["measure"] not in facts.scores.get(arm, {})]):
        return Evidence(False, f"{title_of(rule['measure'])} of '{_title(facts, absent[0])}' was not measured")
    return _JUDGES[name](rule, facts)


def _limit(rule: Mapping[str, Any], facts: Facts) -> Evidence:
    above = "above" in rule
    asked = rule["above" if above else "below"]
    measure, score = rule["measure"], facts.scores[rule["arm"]][rule["measure"]]
    limit = facts.chance.get(measure) if asked == "chance" else asked
    if limit is None:
        return Evidence(False, f"nothing is known of chance in {title_of(measure)}")
    low, high = score.interval
    of_what = "the commonest answer's" if asked == "chance" else "the limit"
    return Evidence(
        low > limit if above else high < limit,
        f"{_title(facts, rule['arm'])}: {title_of(measure)} {with_interval(measure, score)}, "
        f"to be {'above' if above else 'below'} {of_what} {written(measure, limit)}",
    )


def _against(rule: Mapping[str, Any], facts: Facts) -> Evidence:
    better = "better_than" in rule
    measure, arm, other = rule["measure"], rule["arm"], rule["better_than" if better else "worse_than"]
    one, two = facts.scores[arm][measure], facts.scores[other][measure]
    found, side = compared(one, two, measure_of(measure).lower_is_better)
    wanted = 1 if better else -1
    said = (
        f"{title_of(measure)}: {_title(facts, arm)} {written(measure, one.value)}, {_title(facts, other)} "
        f"{written(measure, two.value)}, difference {_with_ends(measure, found)}, {_seeds(found)}"
    )
    if side == -wanted:
        said += ": the opposite"
    return Evidence(side == wanted, said)


def _loss(rule: Mapping[str, Any], facts: Facts) -> Evidence:
    measure, arm, other, limit = rule["measure"], rule["arm"], rule["of"], rule["loses_at_most"]
    one, two = facts.scores[arm][measure], facts.scores[other][measure]
    found = difference(one, two)
    lost = found.high if measure_of(measure).lower_is_better else -found.low
    return Evidence(
        lost <= limit and found.known,
        f"{title_of(measure)}: {_title(facts, arm)} {written(measure, one.value)}, {_title(facts, other)} "
        f"{written(measure, two.value)}, difference {_with_ends(measure, found)}, {_seeds(found)}, "
        f"to lose at most {written(measure, limit)}",
    )


def _replies(rule: Mapping[str, Any], facts: Facts) -> Evidence:
    same, count = facts.replies[rule["arm"]]
    return Evidence(
        count > 0 and same == count,
        f"{_title(facts, rule['arm'])}: {same} of {count} written prompts answered to the letter as by the "
        "untouched LLM",
    )


def _along(rule: Mapping[str, Any], facts: Facts) -> Evidence:
    measure, arms = rule["measure"], rule["better_along"]
    lower = measure_of(measure).lower_is_better
    scores = [facts.scores[arm][measure] for arm in arms]
    steps = [b.value - a.value for a, b in pairwise(scores)]
    found, side = compared(scores[-1], scores[0], lower)
    chain = ", ".join(f"{_title(facts, arm)} {written(measure, s.value)}" for arm, s in zip(arms, scores, strict=True))
    return Evidence(
        side == 1 and all((step < 0) == lower and step != 0 for step in steps),
        f"{title_of(measure)}: {chain}; ends differ by {_with_ends(measure, found)}, {_seeds(found)}",
    )


def _with_ends(measure: str, found: Difference) -> str:
    value, low, high = (written(measure, end, signed=True) for end in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def _seeds(found: Difference) -> str:
    if not found.known:
        return "one seed each, which says nothing of others: not judged"
    if found.paired:
        return f"{found.seeds[0]} seeds, each against itself" if found.seeds[0] > 1 else "one seed against itself"
    return " against ".join(f"{count} seed{'s' * (count > 1)}" for count in found.seeds if count)


def _title(facts: Facts, arm: str) -> str:
    return "untouched LLM" if arm == UNTOUCHED else facts.titles.get(arm, arm)


def compared(one: Sampled, other: Sampled, lower_is_better: bool) -> tuple[Difference, int]:
    """Compares two arms.

    Returns:
        Their difference, and 1 where the first is better beyond chance, -1 where it is worse, 0 where neither is shown:
        the interval holds 0, or nothing is known of how seeds differ.
    """
    found = difference(one, other)
    if not (found.low > 0 or found.high < 0) or not found.known:
        return found, 0
    return found, 1 if (found.value < 0) == lower_is_better else -1


def written(measure: str, value: float, signed: bool = False) -> str:
    """Writes a score in percent or nats."""
    sign = "+" if signed else ""
    if measure_of(measure).unit == "percent":
        return f"{100 * value:{sign}.1f}".replace("-", "−")
    digits = ".4f" if abs(value) >= 1e-4 or not value else ".1g"
    return f"{value:{sign}{digits}}".replace("-", "−")


def with_interval(measure: str, score: Sampled) -> str:
    """Writes a score and its interval."""
    low, high = score.interval
    return f"{written(measure, score.value)} [{written(measure, low)}, {written(measure, high)}]"


def arms_of(rule: Mapping[str, Any]) -> list[str]:
    """Names of all arms that a rule looks at."""
    named = [rule[key] for key in ("arm", "better_than", "worse_than", "says_as", "of") if key in rule]
    return [*named, *rule.get("better_along", [])]


_JUDGES: dict[str, Callable[[Mapping[str, Any], Facts], Evidence]] = {
    "above": _limit,
    "below": _limit,
    "better_than": _against,
    "worse_than": _against,
    "loses_at_most": _loss,
    "says_as": _replies,
    "better_along": _along,
}
