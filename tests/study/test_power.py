"""The power calculation and the rule for the length, on known numbers."""

import numpy as np
import pytest

from nemo_vtb.evaluation.scoring.bootstrap import Drawing
from nemo_vtb.study.design.length import flat_at
from nemo_vtb.study.design.power import detectable, power, power_lines, seeds_needed


def _rows(right: np.ndarray) -> list[dict]:
    return [
        {
            "set": "facts",
            "kind": "choices",
            "form": "",
            "id": str(n),
            "score": [float(r), 1.0],
            "said": "",
            "reference": "",
        }
        for n, r in enumerate(right)
    ]


CLAIM = {"title": "A beats B", "evidence": [{"arm": "a", "measure": "choice", "better_than": "b"}]}


def test_seeds_needed_is_the_first_number_that_finds_the_difference():
    assert detectable(0.01, 0.02, 4) == pytest.approx(2.8016 * (0.01**2 + 2 * 0.02**2 / 4) ** 0.5, rel=1e-4)
    needed = seeds_needed(0.05, 0.01, 0.02)
    assert detectable(0.01, 0.02, needed) <= 0.05 < detectable(0.01, 0.02, needed - 1)
    assert seeds_needed(0.05, 0.02, 0.0) is None, "items alone hide it"
    assert seeds_needed(0.05, 0.01, 0.02, arms=1) < needed


def test_simulated_differences_are_found_as_often_as_it_says():
    rng = np.random.default_rng(0)
    item_sd, seed_sd, seeds = 0.01, 0.02, 5
    sd = (item_sd**2 + 2 * seed_sd**2 / seeds) ** 0.5
    found = rng.normal(detectable(item_sd, seed_sd, seeds), sd, 20_000)
    assert np.mean(np.abs(found) > 1.96 * sd) == pytest.approx(0.8, abs=0.01)


def test_items_come_from_the_first_seed_and_seeds_from_all_of_them():
    rng = np.random.default_rng(1)
    base = rng.random(400) < 0.6
    arms = {"a": [_rows(base)], "b": [_rows(base & (rng.random(400) < 0.9))]}
    (need,) = power([CLAIM], arms, [], {"a": 5, "b": 3}, {}, Drawing(400))
    assert need.planned == 3 and need.observed > 0.03 and "one seed" in need.seeds_known_from
    difference = base.astype(float) - np.array([row["score"][0] for row in arms["b"][0]])
    assert need.item_sd == pytest.approx(difference.std() / 20, rel=0.15)
    arms["a"].append(_rows(rng.random(400) < 0.5))
    (more,) = power([CLAIM], arms, [], {"a": 5, "b": 3}, {}, Drawing(400))
    scores = [np.mean([row["score"][0] for row in seed]) for seed in arms["a"]]
    assert more.seeds_known_from == "this study" and more.item_sd == need.item_sd
    assert more.seed_sd == pytest.approx(np.std(scores, ddof=1))
    assert any("more items" in line or line.split()[-1].isdigit() for line in power_lines([need, more])[1:])


def test_arms_without_a_run_are_left_out():
    assert power([CLAIM], {"a": [_rows(np.ones(4))]}, [], {"a": 1, "b": 1}, {}, Drawing(10)) == []


def test_a_curve_is_flat_where_the_next_checks_bring_too_little():
    assert flat_at([4.0, 2.0, 1.0, 0.99, 0.99], 0.02, 2) == 2
    assert flat_at([4.0, 2.0, 1.0, 0.99], 0.02, 2) is None, "two checks must follow"
    assert flat_at([4.0, 3.99, 2.0, 1.0], 0.02, 2) is None, "a slow start is no end"
    assert flat_at([1.0, 1.5, 2.0], 0.02, 2) == 0
