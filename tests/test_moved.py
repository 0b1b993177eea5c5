import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

from nemo_vtb.moved import MOVED


@pytest.mark.parametrize("name", sorted(set(MOVED.values())))
def test_every_new_name_is_there(name):
    assert find_spec(name) is not None


def test_an_old_name_is_the_new_module_and_says_so():
    with pytest.warns(DeprecationWarning, match=r"nemo_vtb.models.slim is now nemo_vtb.models.checkpoints.slim"):
        old = import_module("nemo_vtb.models.slim")
    new = import_module("nemo_vtb.models.checkpoints.slim")
    assert old is new and new.__spec__.name == new.__name__


def test_a_script_of_before_runs():
    code = (
        "from nemo_vtb.data.sources import read_source\nfrom nemo_vtb.data.blend import Blend\n"
        "from nemo_vtb.training import build, compose\nfrom nemo_vtb.data.turns import clip\n"
        "from nemo_vtb.strategies.checkpoint_io import AtomicCheckpointIO\n"
        "from nemo_vtb.parts.turn_mask import encode_turns\nprint(Blend.__module__)"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0 and run.stdout.strip().splitlines()[-1] == "nemo_vtb.data.blend.walk", run.stderr


def test_a_name_that_never_was_is_an_error():
    with pytest.raises(ImportError, match="no_such_name"):
        exec("from nemo_vtb.data.sources import no_such_name")
