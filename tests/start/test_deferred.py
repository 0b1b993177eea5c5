"""Packages that commands defer are, once used, what they are without that."""

import json
import subprocess
import sys

import pytest

from nemo_vtb.start.deferred import AT_FIRST_USE, PACKAGES, STAND_INS

# Every name that a deferred package would give away, then the same names after its own code was executed.
_COMPARE = """
import importlib, json, pickle, sys
from types import ModuleType
from nemo_vtb.start import deferred

deferred.defer()
seen, odd = {}, {}
for package in deferred.PACKAGES:
    module = importlib.import_module(package)
    assert type(module) is deferred._Deferred, package
    seen[package] = {name: getattr(module, name) for name in module.__dict__["__contents__"].origins}
for package, names in seen.items():
    deferred.whole(package)
    module = sys.modules[package]
    assert type(module) is ModuleType
    odd[package] = [name for name, value in names.items() if getattr(module, name) is not value]
    for value in names.values():
        if issubclass(type(value), type):
            assert pickle.loads(pickle.dumps(value)) is value
print(json.dumps({"odd": odd, "names": sum(map(len, seen.values()))}))
"""

_START = """
import json, sys
from types import ModuleType
from nemo_vtb import start

start.begin()
from nemo_vtb import registry
import nemo_vtb.models.voice_text_blender
registry.register()
executed = [name for name, module in sys.modules.items() if type(module) is ModuleType]
import pandas, scipy.signal.windows
from pandas.testing import assert_frame_equal
assert_frame_equal(pandas.DataFrame({"a": [1]}), pandas.DataFrame({"a": [1]}))
print(json.dumps([executed, scipy.signal.windows.hann(3).tolist(), sys.modules["pandas.testing"].__spec__.name]))
"""

_THREADS = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from nemo_vtb.start import deferred

folder = Path(sys.argv[1])
(folder / "slow.py").write_text("import time\\ntime.sleep(0.5)\\nvalue = 7")
(folder / "broken.py").write_text("import sys\\nvalue = sys.mended")
sys.path.insert(0, str(folder))
deferred._BEFORE_CHILDREN |= {"slow", "broken"}
deferred.defer()
import slow, broken
with ThreadPoolExecutor() as pool:
    seen = list(pool.map(lambda number: slow.value, range(4)))
try:
    broken.value
except AttributeError as error:
    seen.append(str(error))
sys.mended = 8
print(json.dumps([*seen, broken.value]))
"""


def output(code: str, *args: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


def test_every_name_is_the_one_that_the_package_itself_gives():
    compared = json.loads(output(_COMPARE))
    assert compared["odd"] == {package: [] for package in PACKAGES} and compared["names"] > 300


def test_a_start_executes_no_more_than_it_needs():
    executed, window, name = json.loads(output(_START))
    assert not (set(AT_FIRST_USE) | set(STAND_INS)) & set(executed)
    for heavy in (
        "nemo.collections.tts.models.fastpitch",
        "megatron.core.transformer",
        "datasets",
        "sklearn",
        "matplotlib",
        "torch._dynamo.convert_frame",
        "torchao.quantization.quant_primitives",
    ):
        assert heavy not in executed
    assert window == pytest.approx([0.0, 1.0, 0.0]) and name == "pandas.testing"


def test_without_being_asked_nothing_is_deferred():
    code = (
        "import nemo_vtb, sys; from nemo_vtb import VTBError; import torchmetrics; print(type(torchmetrics).__name__)"
    )
    assert output(code) == "module"


def test_a_module_is_used_by_several_threads_and_after_it_failed(tmp_path):
    assert json.loads(output(_THREADS, str(tmp_path))) == [7, 7, 7, 7, "module 'sys' has no attribute 'mended'", 8]
