"""Claims as rules on the scores of a study, with a verdict that code gives.

A claim is shown if every piece of its evidence holds; if one does not, it is not shown. It is not testable where the
config says so, or where what it needs is not there: what the LLM cannot do in writing, listening cannot bring out.
While no run of one of its arms is finished, nothing is said of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.options import Key
from nemo_vtb.study.evidence import Evidence, Facts, arms_of, check_rule, evidence
from nemo_vtb.study.scores import UNTOUCHED

SHOWN, NOT_SHOWN, NOT_TESTABLE, NOT_RUN = "shown", "not shown", "not testable at this size", "not run yet"
CLAIM_KEYS = {
    "title": Key("str", "The claim, in words."),
    "evidence": Key("a list of rules", "All hold if it is shown.", None),
    "needs": Key("a list of rules", "Without them it cannot be tested.", None),
    "not_testable": Key("str", "Why it cannot be tested, in place of evidence.", None),
}


@dataclass(frozen=True)
class Verdict:
    """What is said of a claim."""

    title: str
    verdict: str
    evidence: Sequence[Evidence]
    why: str = ""


def check_claims(claims: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> None:
    """Refuses claims that could not be judged, before anything runs.

    Raises:
        VTBError: Names the key.
    """
    for place, claim in enumerate(claims):
        where = f"claims.{place}"
        check_keys(claim, CLAIM_KEYS, where)
        if "title" not in claim or ("evidence" in claim) == ("not_testable" in claim):
            raise VTBError(f"{where} needs a title, and either evidence or the reason why it is not_testable")
        for part in ("evidence", "needs"):
            rules = claim.get(part) or []
            if isinstance(rules, str | Mapping) or not isinstance(rules, Sequence):
                raise VTBError(f"{where}.{part} is {rules!r}; it is a list of rules")
            for number, rule in enumerate(rules):
                check_rule(rule, f"{where}.{part}.{number}", (*arms, UNTOUCHED))


def judge(claim: Mapping[str, Any], facts: Facts) -> Verdict:
    """Judges a claim.

    Args:
        claim: ``title``, and either ``not_testable`` (why) or ``evidence``, a list of rules; see
            ``nemo_vtb.study.evidence.evidence``. ``needs`` lists rules without which the claim cannot be tested.
        facts: What was measured.
    """
    if "not_testable" in claim:
        return Verdict(claim["title"], NOT_TESTABLE, (), claim["not_testable"])
    rules = [*(claim.get("needs") or []), *claim["evidence"]]
    finished = {UNTOUCHED, *facts.scores, *facts.replies}
    if waited_for := [arm for rule in rules for arm in arms_of(rule) if arm not in finished]:
        return Verdict(claim["title"], NOT_RUN, (), f"no run of the arm {waited_for[0]} is finished")
    needs = [evidence(rule, facts) for rule in claim.get("needs") or []]
    found = [evidence(rule, facts) for rule in claim["evidence"]]
    if missing := [part for part in needs if not part.holds]:
        return Verdict(claim["title"], NOT_TESTABLE, found, missing[0].said)
    holds = all(part.holds for part in found)
    return Verdict(claim["title"], SHOWN if holds else NOT_SHOWN, [*found, *needs])
