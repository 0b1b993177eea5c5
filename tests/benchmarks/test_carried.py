"""The folder that carries the benchmarks of a GPU: what it refuses, what it holds, and that it runs.

Packing takes minutes, so by hand, with a Python that has PyTorch and nothing else:
``VTB_CARRIED=REPORT.json VTB_BARE_PYTHON=PYTHON pytest tests/benchmarks/test_carried.py``. The report is that of the
packed run.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CARRIED = Path(__file__).parents[2] / "examples" / "benchmarks" / "carried"
REPORT = os.environ.get("VTB_CARRIED")


def run(folder: Path, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    command = [python, "-I", str(folder / "run.py"), *arguments, "--json", str(folder / "found" / "report.json")]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def stand_in(folder: Path, name: str):
    """The stand-in, imported under a name."""
    (folder / name).mkdir(parents=True)
    shutil.copy(CARRIED / "stand_in.py", folder / name / "__init__.py")
    spec = importlib.util.spec_from_file_location(name, folder / name / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("python", "arguments", "said"),
    [
        ("3.9", ["--device", "cpu"], "this folder is for Python 3.9, this is 3.1"),
        (None, ["--device", "cuda"], "PyTorch sees no CUDA GPU here"),
    ],
)
def test_where_it_cannot_run_one_line_says_why(tmp_path: Path, python: str | None, arguments: list[str], said: str):
    import torch

    if python is None and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    (tmp_path / "packed.json").write_text(json.dumps({"python": python or here}))
    shutil.copy(CARRIED / "run.py", tmp_path)
    ended = run(tmp_path, *arguments)
    assert ended.returncode == 2 and said in ended.stderr and ended.stderr.count("\n") == 1
    assert not (tmp_path / "found").exists()


def test_what_was_left_out_can_be_named_and_says_so_when_it_is_used(tmp_path: Path):
    numba = stand_in(tmp_path, "numba")

    @numba.jit(nopython=True)
    def fast(x: int) -> int:
        return x

    @numba.njit
    def faster(x: int) -> int:
        return x

    assert fast.__name__ == "fast" and not isinstance(1, numba.core.Anything) and numba.Type | None
    for used in (lambda: fast(1), lambda: faster(1), lambda: numba.Type(1), lambda: numba.core.thing()):
        with pytest.raises(ImportError, match=r"numba.* was left out of this folder"):
            used()
    assert not hasattr(numba, "__version__")


def test_pytorch_is_linked_without_what_lies_beside_it(tmp_path: Path):
    code = (
        f"import sys; sys.path.insert(0, {str(CARRIED)!r}); import run, pathlib; run.link_torch(pathlib.Path('links'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    linked = {path.name for path in (tmp_path / "links").iterdir()}
    assert {"torch", "sympy", "filelock"} <= linked and not {"numpy", "nemo", "transformers", "lhotse"} & linked


@pytest.mark.skipif(not REPORT, reason="minutes of real work: run by hand with VTB_CARRIED=REPORT.json")
def test_packed_it_runs_where_there_is_pytorch_alone(tmp_path: Path):
    python = os.environ.get("VTB_BARE_PYTHON", sys.executable)
    asked = [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = subprocess.check_output(asked, text=True).strip()
    subprocess.run([sys.executable, CARRIED / "pack.py", tmp_path / "folder", "--python", version], check=True)
    size = sum(path.stat().st_size for path in (tmp_path / "folder").iterdir())
    assert size <= 60_000_000
    ended = run(tmp_path / "folder", "--device", "cpu", "--tiny", python=python)
    assert ended.returncode == 0, ended.stderr
    found = json.loads((tmp_path / "folder" / "found" / "report.json").read_text())
    assert set(found["step"]["ratio"]) == {"static", "bucketed", "memory", "memory_above_model"}
    assert found["answers"]["same_answers"] and found["answers"]["tokens"]["salm"] > 0
    Path(REPORT).write_text(json.dumps(found | {"folder_mb": round(size / 1e6, 1)}, indent=2) + "\n")
