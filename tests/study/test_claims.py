"""Verdicts on known numbers."""

import numpy as np
import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.scoring.bootstrap import Drawing
from nemo_vtb.study.claims import check_claims, judge
from nemo_vtb.study.evidence import Facts, compared
from nemo_vtb.study.sampled import Sampled, sampled

DRAWING = Drawing(400, 0)


def share(*right_of_100: int, weights: int = 0) -> Sampled:
    """A score with the first so many of a hundred items right, one number per seed."""
    rows = [np.stack([np.arange(100) < right, np.ones(100)], axis=1).astype(float) for right in right_of_100]
    return sampled(rows, DRAWING, weights)


def verdict(evidence, needs=(), replies=None, **arms):
    scores = {arm: {"text": score, "wer": score, "sqa": score} for arm, score in arms.items()}
    facts = Facts(scores, {}, {"sqa": 0.5}, replies or {})
    return judge({"title": "A claim", "evidence": evidence, "needs": needs}, facts)


@pytest.mark.parametrize(
    ("one", "other", "side"),
    [
        ((80, 82, 81), (50, 52, 51), 1),
        ((50, 52, 51), (80, 82, 81), -1),
        ((80, 82, 81), (80, 82, 81), 0),
        # The means differ by far, and one seed says otherwise.
        ((80, 90, 40), (30, 41, 35), 0),
        # One seed on a side: items alone decide.
        ((80, 82, 81), (50,), 1),
        ((80,), (50,), 1),
        ((52,), (52,), 0),
    ],
)
def test_a_difference_counts_beyond_its_interval_and_with_all_seeds(one, other, side):
    found, said = compared(share(*one), share(*other, weights=1), lower_is_better=False)
    assert said == side and found.low <= found.value <= found.high
    assert compared(share(*one), share(*other, weights=1), lower_is_better=True)[1] == -side


def test_the_same_weights_asked_another_way_are_compared_seed_by_seed():
    one, other = share(48, 75, 73), share(58, 85, 83)
    found, side = compared(other, one, lower_is_better=False)
    assert side == 1 and found.paired and found.apart and found.low > 0
    assert compared(share(58, 85, 83, weights=1), one, lower_is_better=False)[1] == 0, "other weights may differ so far"
    alike, side = compared(one, share(48, 75, 73), lower_is_better=False)
    assert side == 0 and (alike.low, alike.high) == (0.0, 0.0)
    assert compared(share(58, 85, 72), one, lower_is_better=False)[1] == 0, "one seed is worse"


def test_what_has_no_items_is_neither_better_nor_worse():
    nothing = sampled([np.zeros((4, 2))], DRAWING, 0)
    assert compared(nothing, sampled([np.zeros((4, 2))], DRAWING, 1), lower_is_better=False)[1] == 0


def test_items_are_paired_and_seeds_widen_the_interval():
    close = compared(share(80), share(78), lower_is_better=False)[0]
    width = close.high - close.low
    assert width < 0.1 < share(80).interval[1] - share(80).interval[0]
    apart = share(70, 80, 90).interval
    alike = share(80, 80, 80).interval
    assert apart[1] - apart[0] > 1.2 * (alike[1] - alike[0])
    assert share(70, 80, 90).value == pytest.approx(0.8)


def test_a_score_at_its_end_still_has_an_interval():
    assert share(100).interval == (pytest.approx(0.963, abs=1e-3), 1.0)
    nothing = sampled([np.stack([np.zeros(50), np.full(50, 7.0)], axis=1)], DRAWING, 0, share=False)
    assert nothing.interval == (0.0, 0.0)


def test_every_piece_of_evidence_must_hold():
    better = {"arm": "a", "measure": "text", "better_than": "b"}
    above = {"arm": "a", "measure": "sqa", "above": "chance"}
    arms = {"a": share(80, 81, 82), "b": share(50, 51, 52, weights=1)}
    found = verdict([better, above], **arms)
    assert found.verdict == "shown" and all(part.holds for part in found.evidence)
    assert "difference +30.0" in found.evidence[0].said and "3 seeds against 3, apart" in found.evidence[0].said
    other = {**better, "arm": "b", "better_than": "a"}
    found = verdict([above, other], **arms)
    assert found.verdict == "not shown" and found.evidence[1].said.endswith("the opposite")
    assert verdict([{**above, "arm": "b"}], **arms).verdict == "not shown"


def test_less_is_better_in_errors():
    arms = {"a": share(80), "b": share(50, weights=1)}
    assert verdict([{"arm": "b", "measure": "wer", "better_than": "a"}], **arms).verdict == "shown"
    assert verdict([{"arm": "a", "measure": "wer", "worse_than": "b"}], **arms).verdict == "shown"
    assert verdict([{"arm": "b", "measure": "wer", "below": 0.7}], **arms).verdict == "shown"
    assert verdict([{"arm": "b", "measure": "wer", "below": 0.55}], **arms).verdict == "not shown"


def test_a_loss_is_bounded_by_its_interval():
    loses = {"arm": "a", "measure": "text", "of": "b"}
    arms = {"a": share(70), "b": share(72, weights=1)}
    assert verdict([{**loses, "loses_at_most": 0.06}], **arms).verdict == "shown"
    assert verdict([{**loses, "loses_at_most": 0.02}], **arms).verdict == "not shown"
    wins = {"a": share(90), "b": share(72, weights=1)}
    assert verdict([{**loses, "loses_at_most": 0}], **wins).verdict == "shown"


def test_replies_are_compared_to_the_letter():
    rule = {"arm": "a", "says_as": "untouched"}
    assert verdict([rule], replies={"a": (90, 90)}, a=share(1)).verdict == "shown"
    assert verdict([rule], replies={"a": (89, 90)}, a=share(1)).verdict == "not shown"
    assert verdict([rule], replies={"a": (0, 0)}, a=share(1)).verdict == "not shown"


def test_every_step_along_arms_is_one_up():
    rule = {"measure": "text", "better_along": ["a", "b", "c"]}
    rising = {"a": share(40), "b": share(50, weights=1), "c": share(70, weights=2)}
    assert verdict([rule], **rising).verdict == "shown"
    assert verdict([rule], **{**rising, "b": share(39)}).verdict == "not shown"
    # Rising, but the ends are two items apart, which is chance.
    assert verdict([rule], **{**rising, "b": share(41), "c": share(42)}).verdict == "not shown"
    assert verdict([rule], a=share(40), b=share(40), c=share(70)).verdict == "not shown"


def test_what_a_claim_needs_decides_whether_it_is_testable():
    evidence = [{"arm": "a", "measure": "text", "above": 0.1}]
    needs = [{"arm": "untouched", "measure": "text", "above": 0.2}]
    assert verdict(evidence, needs, a=share(60), untouched=share(50)).verdict == "shown"
    found = verdict(evidence, needs, a=share(60), untouched=share(10))
    assert found.verdict == "not testable at this size" and "untouched LLM" in found.why
    assert judge({"title": "t", "not_testable": "too small"}, Facts({}, {}, {}, {})).why == "too small"


def test_what_was_not_measured_shows_nothing():
    found = verdict([{"arm": "a", "measure": "kl", "below": 1}], a=share(60))
    assert found.verdict == "not shown" and "was not measured" in found.evidence[0].said


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"arm": "a", "measure": "wer"}, "needs one of"),
        ({"arm": "a", "measure": "wer", "above": 1, "below": 2}, "needs one of"),
        ({"arm": "x", "measure": "wer", "above": 1}, "names the arm 'x'"),
        ({"measure": "wer", "above": 1}, "names no arm"),
        ({"arm": "a", "measure": "per", "above": 1}, "measure is 'per'"),
        ({"arm": "a", "measure": "wer", "above": "luck"}, "above is 'luck'"),
        ({"arm": "a", "measure": "wer", "loses_at_most": 1}, "compared with"),
        ({"measure": "wer", "better_along": ["a", "z"]}, "names the arm 'z'"),
        ({"arm": "a", "measure": "wer", "over": 1}, "claims.0.evidence.0.over"),
        ({"arm": "a", "says_as": "b"}, "compared with untouched's"),
        ({"arm": "untouched", "says_as": "untouched"}, "compared with untouched's"),
    ],
)
def test_a_rule_that_is_none_is_refused(rule, message):
    with pytest.raises(VTBError, match=message):
        check_claims([{"title": "t", "evidence": [rule]}], ["a", "b"])
    with pytest.raises(VTBError, match="needs a title"):
        check_claims([{"evidence": []}], ["a"])
