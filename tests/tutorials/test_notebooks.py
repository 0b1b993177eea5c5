"""Every notebook runs as a reader runs it, and what is kept in it came of such a run.

Kernels and commands are forks of one process that has imported the libraries; a reader's import them each time.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from forks import Forks
from run_notebooks import FOLDER, execute

NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
_FAULT = re.compile(r"Traceback|.*Warning.*|\[NeMo W [^\]]*\] nemo_vtb: .*")
# Of the quickstart's own config, and of megatron-core on a machine without GPUs, on stderr.
_KNOWN = (
    "model.prompt_format=chatml writes other tokens",
    "quickstart.yaml has no ast wordings in Spanish",
    "Transformer Engine and Apex are not installed",
)
_PLACES = re.compile(r"/(root|work|tmp|home|usr)/")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, forked: Forks) -> Iterator[Forks]:
    """The kernel ``forked``."""
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        spec = folder / "kernels" / "forked" / "kernel.json"
        spec.parent.mkdir(parents=True)
        module = ["run", "python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": [*forked.call, *module], "display_name": "forked", "language": "python"}))
        patch.setenv("JUPYTER_PATH", str(folder))
        patch.setenv("PATH", forked.forked)
        # torchrun's own.
        patch.setenv("PYTHON_EXEC", forked.python)
        patch.setenv("STEPS", "2")
        yield forked


@pytest.mark.network
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs(name: str, kernel: Forks, tmp_path: Path, record_property: Any, request: pytest.FixtureRequest):
    if "slurm" in name and shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin"):
        request.getfixturevalue("slurm")
    before = _cpu_seconds(kernel)
    notebook = execute(FOLDER / f"{name}.ipynb", tmp_path, "forked")
    record_property("notebook", {"name": name, "cpu_seconds": round(_cpu_seconds(kernel) - before, 1)})
    for cell in notebook.cells:
        # A line may come in pieces.
        text = "".join(map(_text, cell.get("outputs", [])))
        faults = [one for one in _FAULT.findall(text) if not any(known in one for known in _KNOWN)]
        assert not faults, f"{name}, {cell.id}: {faults}"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_came_of_a_run(name: str):
    path = FOLDER / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [out for cell in code for out in cell.outputs]
    assert {"error", "stderr"}.isdisjoint({out.output_type for out in outputs} | {out.get("name") for out in outputs})
    assert not [text for text in map(_text, outputs) if _PLACES.search(text) or _FAULT.search(text)]
    assert [out for out in outputs if "image/png" in out.get("data", {})], "no plot"
    assert path.stat().st_size < 500_000


def _text(out: dict[str, Any]) -> str:
    data = out.get("data", {})
    return out.get("text", "") + data.get("text/markdown", "") + data.get("text/plain", "")


def _cpu_seconds(kernel: Forks) -> float:
    process = psutil.Process(kernel.pid)
    psutil.wait_procs(process.children(), timeout=10)
    times = process.cpu_times()
    return times.children_user + times.children_system
