"""Verdicts on known numbers."""

from dataclasses import replace

import numpy as np
import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.scoring.bootstrap import Drawing
from nemo_vtb.study.claims import check_claims, judge
from nemo_vtb.study.evidence import Facts, compared
from nemo_vtb.study.sampled import Sampled, Spread, difference, sampled, spread_of

DRAWING = Drawing(400, 0)
# Of arms whose seeds lie a point or two apart.
CLOSE = Spread(0.015, 8)


def share(*right_of_100: int, weights: int = 0, spread: Spread = CLOSE) -> Sampled:
    """A score with the first so many of a hundred items right, one number per seed."""
    rows = [np.stack([np.arange(100) < right, np.ones(100)], axis=1).astype(float) for right in right_of_100]
    return replace(sampled(rows, DRAWING, weights, most=1.0), spread=spread)


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
        # The means differ by far, and so do the seeds of one arm.
        ((80, 90, 20), (30, 41, 35), 0),
        # One seed on a side: how far seeds lie apart is known of the other.
        ((80, 82, 81), (50,), 1),
        ((80, 82, 81), (79,), 0),
        # Of two seeds nothing is known.
        ((80,), (50,), 0),
    ],
)
def test_a_difference_counts_beyond_its_interval_of_items_and_seeds(one, other, side):
    spread = spread_of([share(*one), share(*other)])
    ours, theirs = share(*one, spread=spread), share(*other, weights=1, spread=spread)
    found, said = compared(ours, theirs, lower_is_better=False)
    assert said == side and found.low <= found.value <= found.high
    assert compared(ours, theirs, lower_is_better=True)[1] == -side


@pytest.mark.parametrize("counts", [(2, 2), (5, 1), (2, 5), (5, 5)])
def test_equal_arms_are_told_apart_once_in_twenty_times_at_most(counts):
    """Arms of the same expectation whose seeds vary, alone and with as much chance in the items."""
    rng = np.random.default_rng(0)
    for item_sd in (0.0, 0.02):
        wrong = []
        for _ in range(600):
            arms = []
            for place, count in enumerate(counts):
                seeds = 0.5 + 0.02 * rng.standard_normal(count)
                draws = seeds + item_sd * rng.standard_normal((200, 1)) + 1e-9 * rng.standard_normal((200, 1))
                arms.append(
                    Sampled(tuple(seeds), draws + item_sd * rng.standard_normal(), 9, place, tuple(range(count)))
                )
            spread = spread_of(arms)
            one, other = (replace(arm, spread=spread, weights=2 * len(wrong) + arm.weights) for arm in arms)
            wrong.append(compared(one, other, lower_is_better=False)[1] != 0)
        assert np.mean(wrong) < 0.08, item_sd


def test_what_seeds_differ_by_is_found_with_many_of_them():
    """More seeds never make it harder, as a rule would that asks every one of them."""
    rng = np.random.default_rng(1)
    found = {}
    for count in (3, 10):
        seeds = [base + 0.02 * rng.standard_normal((300, count)) for base in (0.5, 0.55)]
        pairs = [
            [share(*(100 * arm).round().astype(int).tolist()) for arm in pair] for pair in zip(*seeds, strict=True)
        ]
        told = []
        for one, other in pairs:
            spread = spread_of([one, other])
            low = replace(one, spread=spread), replace(other, spread=spread, weights=1)
            told.append(compared(*low, lower_is_better=False)[1] == -1)
        found[count] = np.mean(told)
    assert found[10] > max(0.9, found[3])


def test_the_same_weights_asked_another_way_are_compared_seed_by_seed():
    one, other = share(48, 75, 73), share(58, 85, 83)
    found, side = compared(other, one, lower_is_better=False)
    assert side == 1 and found.paired and found.seeds == (3, 3) and found.low > 0
    wide = spread_of([one, other])
    apart = [replace(score, spread=wide, weights=place) for place, score in enumerate((other, one))]
    assert compared(*apart, lower_is_better=False)[1] == 0, "other weights may differ so far"
    alike, side = compared(one, share(48, 75, 73), lower_is_better=False)
    assert side == 0 and (alike.low, alike.high) == (0.0, 0.0)
    assert compared(share(58, 85, 72), one, lower_is_better=False)[1] == 0, "one seed is worse"


def test_what_lies_far_apart_varies_by_a_share_of_itself():
    near, far = share(9, 10, 11), share(72, 80, 88, weights=1)
    spread = spread_of([near, far], relative=True)
    assert spread.freedom == 4 and spread.at(0.1).sd == pytest.approx(0.01) and spread.at(0.8).sd == pytest.approx(0.08)
    assert spread_of([near, far]).sd == pytest.approx((0.5 * (0.01**2 + 0.08**2)) ** 0.5)


def test_of_the_same_weights_the_seeds_that_both_have_are_compared():
    """An arm that asks fewer seeds another way is not held against the others' mean."""
    every = share(48, 75, 73)
    for seed, right in enumerate((48, 75, 73)):
        same = difference(replace(share(right), ids=(seed,)), every)
        assert (same.value, same.low, same.high, same.seeds) == (0.0, 0.0, 0.0, (1, 1))


def test_what_has_no_items_is_neither_better_nor_worse():
    nothing = sampled([np.zeros((4, 2))], DRAWING, 0)
    assert compared(nothing, sampled([np.zeros((4, 2))], DRAWING, 1), lower_is_better=False)[1] == 0


def test_items_are_paired_and_seeds_widen_the_interval():
    close = compared(share(80), share(78), lower_is_better=False)[0]
    width = close.high - close.low
    assert width < 0.1 < share(80).interval[1] - share(80).interval[0]
    apart = share(70, 80, 90, spread=Spread(0.1, 8)).interval
    alike = share(80, 80, 80, spread=Spread(0.0, 8)).interval
    assert apart[1] - apart[0] > 1.2 * (alike[1] - alike[0])
    assert share(99, 95, spread=Spread(0.1, 1)).interval[1] == 1.0, "no share is above 1"
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
    assert "difference +30.0" in found.evidence[0].said and "3 seeds against 3 seeds" in found.evidence[0].said
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
    near = Spread(0.001, 8)
    arms = {"a": share(70, spread=near), "b": share(72, weights=1, spread=near)}
    assert verdict([{**loses, "loses_at_most": 0.06}], **arms).verdict == "shown"
    far = {name: replace(score, spread=CLOSE) for name, score in arms.items()}
    assert verdict([{**loses, "loses_at_most": 0.06}], **far).verdict == "not shown", "another seed may lose more"
    unknown = {name: replace(score, spread=Spread()) for name, score in arms.items()}
    assert verdict([{**loses, "loses_at_most": 0.06}], **unknown).evidence[0].said.count("not judged") == 1
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
