"""What commands take for a class or a function of a module that nobody executed is that, once somebody uses it."""

import json
import subprocess
import sys

from nemo_vtb.start.deferred import STAND_INS

_BEGIN = """
import json, sys
from types import ModuleType
from nemo_vtb.start import deferred

deferred.defer()

def executed(name):
    return type(sys.modules.get(name)) is ModuleType
"""

_EVERY_NAME = """
import importlib
modules = {name: importlib.import_module(name) for name in deferred.STAND_INS}
taken = {name: {key: getattr(modules[name], key) for key in found} for name, found in deferred.STAND_INS.items()}
assert not list(filter(executed, modules))
for name in modules:
    deferred.whole(name)
odd = [f"{name}.{key}" for name, found in taken.items() for key in found if getattr(modules[name], key) is found[key]]
print(json.dumps(odd))
"""

_COMPILER = """
import torch
from torch._dynamo import OptimizedModule, allow_in_graph, assume_constant_result

@torch.compiler.disable(recursive=False)
def guarded(x):
    return x + 1

@torch.compiler.disable
def guarded_wholly(x):
    return x + 1

@assume_constant_result
def constant():
    return 1

@allow_in_graph
def allowed(x):
    return x + 1

layer = torch.nn.Linear(2, 2)
before = [guarded(1), guarded_wholly(1), constant(), allowed(1)]
before += [isinstance(layer, OptimizedModule), executed("torch._dynamo")]

compiled = torch.compile(lambda x: guarded(allowed(x)) * constant(), backend="eager")
assert compiled(torch.ones(2)).tolist() == [3.0, 3.0]
from torch._dynamo import OptimizedModule as own, trace_rules
whole = torch.compile(layer, backend="eager")
after = [
    guarded(1),
    guarded_wholly(1),
    isinstance(whole, OptimizedModule),
    isinstance(layer, OptimizedModule),
    issubclass(own, OptimizedModule),
    type(OptimizedModule(layer, torch._dynamo.optimize("eager"))) is own,
    constant._dynamo_marked_constant,
    trace_rules.is_callable_allowed(allowed),
]
print(json.dumps([before, after]))
"""

_FUNCTION = """
from scipy.optimize import linear_sum_assignment
before = executed("scipy.optimize")
rows, columns = linear_sum_assignment([[1, 2], [2, 1]])
print(json.dumps([before, columns.tolist(), executed("scipy.optimize")]))
"""

_PLOT = """
import torch
from torchmetrics import MeanMetric
metric = MeanMetric()
metric.update(torch.tensor(2.0))
before = "matplotlib" in sys.modules
figure, axes = metric.plot()
print(json.dumps([before, type(figure).__name__]))
"""

_LORA = """
import torch
from peft import LoraConfig, get_peft_model
model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(4, 4)), LoraConfig(r=2, target_modules=["0"]))
print(json.dumps([type(model.base_model.model[0]).__module__, executed("torchao")]))
"""

_NUMBA = """
from nemo.core.utils.optional_libs import NUMBA_AVAILABLE, NUMBA_CUDA_AVAILABLE
before = [NUMBA_AVAILABLE, NUMBA_CUDA_AVAILABLE, executed("numba")]
import numba
from numba import cuda as taken
known = numba.__version__
from numba import njit
assert njit(lambda x: x + 1)(1) == 2 and known == numba.__version__ and executed("numba")
from numba import cuda
print(json.dumps([before, taken is cuda, taken.is_available() is cuda.is_available(), taken.jit is cuda.jit]))
"""


def output(code: str) -> list:
    done = subprocess.run([sys.executable, "-c", _BEGIN + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_stand_in_gives_way_to_what_its_module_has():
    assert STAND_INS and output(_EVERY_NAME) == []


def test_what_is_compiled_later_knows_what_was_marked_and_guarded_before():
    before, after = output(_COMPILER)
    assert before == [2, 2, 1, 2, False, False]
    assert after == [2, 2, True, False, True, True, True, True]


def test_a_function_is_called():
    assert output(_FUNCTION) == [False, [0, 1], True]


def test_a_metric_is_plotted():
    assert output(_PLOT) == [False, "Figure"]


def test_lora_needs_no_quantised_weights():
    assert output(_LORA) == ["peft.tuners.lora.layer", False]


def test_numba_is_there_and_without_a_driver_has_no_cuda(monkeypatch):
    before, *after = output(_NUMBA)
    assert before == [True, False, False] and after == [False, True, True]
    # Its simulator of a GPU is CUDA to it, but not one that NeMo knows.
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    before, *after = output(_NUMBA)
    assert before == [True, False, True] and after == [True, True, True]
