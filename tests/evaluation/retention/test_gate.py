import json

import pytest

from nemo_vtb.errors import VTBError
from nemo_vtb.evaluation.retention.gate import check


def _suite(base: float, tuned: float, n: int = 20, **more):
    lost = [{"id": f"q{number}", "prompt": "?", "base": "a", "tuned": "b"} for number in range(2)]
    return {"base": base, "tuned": tuned, "drop": base - tuned, "n": n, "low": None, "high": None, "lost": lost, **more}


def test_the_worst_suite_decides():
    result = check({"short": _suite(0.75, 0.70), "arithmetic": _suite(0.5, 0.2), "won": _suite(0.1, 0.3)}, 10)
    assert not result.passed
    assert (result.worst, result.drop) == ("arithmetic", 0.3)
    assert "'arithmetic' lost 30.0 points, more than max_text_drop=10 allows" in result.message
    assert "50.0 of the untouched LLM, 20.0 now, n=20" in result.message


def test_a_drop_at_the_limit_passes_whatever_the_rounding():
    assert check({"short": _suite(9 / 60, 6 / 60)}, 5).passed
    assert not check({"short": _suite(9 / 60, 5 / 60)}, 5).passed


def test_more_than_before_is_no_loss():
    result = check({"short": _suite(0.5, 0.6, low=-0.25, high=0.05)}, 0)
    assert result.passed and result.drop == pytest.approx(-0.1)
    assert "interval of the drop -25.0 to 5.0" in result.message


def test_the_verdict_goes_into_json():
    told = check({"short": _suite(0.75, 0.70), "chat": _suite(0.5, 0.5)}, 2).to_dict()
    assert json.loads(json.dumps(told)) == told
    assert (told["passed"], told["max_text_drop_points"], told["worst"]) == (False, 2.0, "short")
    assert told["drop"] == pytest.approx(0.05)
    assert [(name, suite["passed"], suite["lost"]) for name, suite in told["suites"].items()] == [
        ("short", False, 2),
        ("chat", True, 2),
    ]


@pytest.mark.parametrize("limit", [-1, float("nan"), "5", None, True])
def test_an_odd_limit_is_refused(limit):
    with pytest.raises(VTBError, match="max_text_drop is"):
        check({"short": _suite(0.75, 0.70)}, limit)


@pytest.mark.parametrize("suites", [{}, {"short": _suite(0.75, 0.70, n=0)}, {"short": _suite(0.75, float("nan"))}])
def test_nothing_measured_is_no_pass(suites):
    with pytest.raises(VTBError, match=r"nothing to judge|was not measured"):
        check(suites, 5)
