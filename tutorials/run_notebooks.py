"""Executes the notebooks, each in a folder of its own and from a kernel of its own.

python tutorials/run_notebooks.py              all of them; says what each took
python tutorials/run_notebooks.py --keep 03    writes the outputs of the one whose name begins so into its file
python tutorials/run_notebooks.py --json examples/benchmarks/results/notebooks.json   what each took, for the table

Kept outputs are of a real execution, without what the hosts log, and with this machine's paths shortened.
"""

import argparse
import json
import os
import re
import resource
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from nemo_vtb.reports.environment import environment

FOLDER = Path(__file__).parent
SECONDS = 1200
# NeMo's logger writes to both streams; the lines of a warning that follow are indented.
_LOGGED = re.compile(r"^\[NeMo [A-Z] .*\n(?:    .*\n)*", re.MULTILINE)


def execute(path: Path, folder: Path, kernel: str = "python3") -> nbformat.NotebookNode:
    """Runs a notebook with ``folder`` as the working directory.

    Args:
        path: Of the notebook.
        folder: Where its runs are written.
        kernel: Name of the kernel.

    Returns:
        The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: When a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    return NotebookClient(
        notebook, timeout=SECONDS, kernel_name=kernel, resources=resources, record_timing=False
    ).execute()


def kept(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """The notebook as it is committed.

    Args:
        notebook: With the outputs of ``execute``.
        folder: In which it ran.
    """
    places = {str(folder): ".", str(FOLDER.parent): "..", str(Path.home()): "~"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined([out for out in cell.outputs if out.get("name") != "stderr"])
            for out in cell.outputs:
                if out.output_type == "stream":
                    out.text = _LOGGED.sub("", out.text)
            cell.outputs = [out for out in cell.outputs if out.output_type != "stream" or out.text.strip()]
    text = nbformat.writes(notebook)
    for place, short in places.items():
        text = text.replace(place, short)
    return nbformat.reads(text, as_version=4)


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Pieces of one stream as one output."""
    joined: list[nbformat.NotebookNode] = []
    for out in outputs:
        if out.output_type == "stream" and joined and joined[-1].get("name") == out.name:
            joined[-1].text += out.text
        else:
            joined.append(out)
    return joined


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("begins", nargs="*", default=[""], help="how the names begin")
    parser.add_argument("--keep", action="store_true", help="write the outputs into the notebooks")
    parser.add_argument(
        "--json", type=Path, help="in which to write the CPU seconds; of others what stands there stays"
    )
    args = parser.parse_args()
    # Commands that cells call are found as in an activated environment.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for path in sorted(FOLDER.glob("*.ipynb")):
        if not path.name.startswith(tuple(args.begins)):
            continue
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with tempfile.TemporaryDirectory() as made:
            notebook = execute(path, Path(made))
            if args.keep:
                nbformat.write(kept(notebook, Path(made)), path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            json.dumps({"notebook": path.stem, "cpu_seconds": round(seconds, 1), "bytes": path.stat().st_size}),
            flush=True,
        )
        if args.json is not None:
            _note(args.json, path.stem, round(seconds, 1))


def _note(file: Path, name: str, seconds: float) -> None:
    report = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"cpu_s": {}}
    report["cpu_s"] = dict(sorted({**report["cpu_s"], name: seconds}.items()))
    report["environment"] = environment("python tutorials/run_notebooks.py --json FILE", seed=0)
    file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _main()
