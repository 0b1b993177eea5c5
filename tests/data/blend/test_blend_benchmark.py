"""The committed measurement of blends, and what is counted in it."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

_BENCHMARKS = Path(__file__).parents[3] / "examples" / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(_BENCHMARKS))
        spec = importlib.util.spec_from_file_location("blend_benchmark", _BENCHMARKS / "blend.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def measured():
    return json.loads((_BENCHMARKS / "results" / "blend.json").read_text())


def test_ours_holds_what_the_readme_promises(measured):
    assert measured["steps"] >= 1000
    for units in measured["ours"]["modes"].values():
        for found in units.values():
            assert found["share_error_points"] <= 1 and found["rank_imbalance"] <= 1.05
            assert found["repeated"] == found["lost"] == 0
    ours = measured["ours"]
    assert ours["batches_without_audio"] == ours["rank_disagreements"] == ours["repeated"] == ours["lost"] == 0
