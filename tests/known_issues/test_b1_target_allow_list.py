"""NeMo builds only classes on its own list of `_target_` names; a plugin's classes are refused until it adds them."""

import json
import subprocess
import sys

import pytest

# A process of its own: other tests have registered already.
_PROBE = """
import json, os, sys
from nemo.core.classes.common import Serialization, UnsafeTargetError, safe_instantiate
from omegaconf import OmegaConf

ADAPTER = {
    "_target_": "nemo_vtb.modules.adapter.ConformerAdapter",
    "feat_in": 8, "output_dim": 8, "d_model": 16, "n_heads": 2, "n_layers": 1,
}
TRAIN = {"_target_": "nemo_vtb.training.train", "cfg": {}}
SHELL = {"_target_": "os.system", "command": f"touch {sys.argv[1]}"}

def outcome(build, section):
    try:
        return type(build(OmegaConf.create(section))).__name__
    except UnsafeTargetError:
        return "refused"

def outcomes():
    return {
        "adapter": outcome(safe_instantiate, ADAPTER),
        "adapter by from_config_dict": outcome(Serialization.from_config_dict, ADAPTER),
        "function of the plugin": outcome(safe_instantiate, TRAIN),
        "shell": outcome(safe_instantiate, SHELL),
        "shell inside a section": outcome(safe_instantiate, {**ADAPTER, "extra": SHELL}),
    }

before = outcomes()
from nemo_vtb import registry
registry.register()
registry.register()
print(json.dumps({"before": before, "after": outcomes()}))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    witness = tmp_path_factory.mktemp("shell") / "ran"
    run = subprocess.run([sys.executable, "-c", _PROBE, str(witness)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert not witness.exists()
    return json.loads(run.stdout.splitlines()[-1])


def test_stock_nemo_refuses_our_targets(outcomes: dict[str, dict[str, str]]):
    assert set(outcomes["before"].values()) == {"refused"}


def test_registering_allows_our_modules_by_their_exact_names(outcomes: dict[str, dict[str, str]]):
    assert outcomes["after"]["adapter"] == "ConformerAdapter"
    assert outcomes["after"]["adapter by from_config_dict"] == "ConformerAdapter"


def test_registering_opens_nothing_else(outcomes: dict[str, dict[str, str]]):
    for target in ("function of the plugin", "shell", "shell inside a section"):
        assert outcomes["after"][target] == "refused"
