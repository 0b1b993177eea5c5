"""Intervals: they hold the truth as often as they say, and are the same every time."""

from types import SimpleNamespace

import numpy as np
import pytest

from nemo_vtb.evaluation.ask import SIDES, Answers
from nemo_vtb.evaluation.scoring.bootstrap import Drawing, Sums, clustered, difference, estimate, means, shares
from nemo_vtb.evaluation.sections import sections
from nemo_vtb.evaluation.sets.plan import Plan

RUNS = 300


def _coverage(draw, truth, drawing=Drawing(300)):  # noqa: B008
    held = 0
    for run in range(RUNS):
        found = estimate(draw(np.random.default_rng(run)), drawing)
        held += found["low"] <= truth <= found["high"]
    return held / RUNS


def test_intervals_of_a_share_hold_it_nineteen_times_of_twenty():
    assert 0.91 <= _coverage(lambda rng: shares(rng.random(80) < 0.7), 0.7) <= 0.98


def test_intervals_of_a_ratio_hold_it():
    def draw(rng):
        words = rng.integers(3, 15, 120)
        return Sums(np.stack([rng.binomial(words, 0.2), words], axis=1).astype(float))

    assert 0.91 <= _coverage(draw, 0.2) <= 0.98


def test_turns_of_a_conversation_are_drawn_together():
    """Turns that fail together tell less than their number suggests; single draws would be too sure."""

    def turns(rng):
        right = np.repeat(rng.random(40) < 0.6, 4)
        return shares(right), np.repeat(np.arange(40), 4).tolist()

    assert 0.9 <= _coverage(lambda rng: clustered(*turns(rng)), 0.6) <= 0.98
    assert _coverage(lambda rng: turns(rng)[0], 0.6) < 0.8


def test_paired_differences_are_narrower_than_two_intervals():
    rng = np.random.default_rng(0)
    hard = rng.random(200) < 0.5
    one, other = shares(hard), shares(hard & (rng.random(200) < 0.9))
    paired = difference(one, other, Drawing())
    apart = estimate(one, Drawing())["high"] - estimate(one, Drawing())["low"]
    assert paired["value"] == pytest.approx(one.value - other.value)
    assert 0 < paired["low"] < paired["high"] < paired["low"] + apart


def test_equal_seeds_draw_equal_sets_and_order_does_not_matter():
    sums = shares(np.random.default_rng(1).random(50) < 0.4)
    assert estimate(sums, Drawing(200, 3)) == estimate(sums, Drawing(200, 3))
    assert estimate(sums, Drawing(200, 3)) != estimate(sums, Drawing(200, 4))


@pytest.mark.parametrize(("right", "low", "high"), [([1] * 20, 0.839, 1.0), ([0] * 20, 0.0, 0.161)])
def test_all_right_or_all_wrong_is_not_certain(right, low, high):
    found = estimate(shares(right), Drawing())
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-3)


def test_turns_that_are_all_right_are_as_sure_as_their_conversations():
    turns = clustered(shares([1] * 60), [number // 3 for number in range(60)])
    found, alone = estimate(turns, Drawing()), estimate(shares([1] * 20), Drawing())
    assert (found["low"], found["high"]) == (alone["low"], alone["high"])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_what_is_no_share_is_certain_where_all_items_agree(value):
    found = estimate(means([value] * 20), Drawing())
    assert (found["low"], found["high"]) == (value, value)


def test_no_items_and_unequal_items():
    assert estimate(shares([]), Drawing())["n"] == 0
    with pytest.raises(ValueError, match="same items, not 1 and 2"):
        difference(shares([1]), shares([1, 0]), Drawing())


def test_a_divergence_of_nothing_is_no_share():
    rows = np.asarray([[12.0, 30.0, 30.0, 0.0]] * 5)
    answers = Answers({side: [] for side in SIDES}, {side: [] for side in SIDES}, {"chat": rows})
    answer = SimpleNamespace(role="assistant", value="Hello.")
    found = sections(Plan([], [], {"chat": [SimpleNamespace(turns=[answer])] * 5}), answers, Drawing(20))["text"][
        "chat"
    ]["kl"]
    assert (found["value"], found["low"], found["high"]) == (0.0, 0.0, 0.0)
