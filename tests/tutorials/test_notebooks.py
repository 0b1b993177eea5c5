from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "tutorials"
# What a reader comes for.
PRINTED = {
    "00_quickstart": ["* ", "<|im_end|>"],
    "01_does_it_hold": [
        "one joint stage",
        "not testable at this size",
        "vtb> open the door in the bathroom",
        "commands",
    ],
}


@pytest.mark.network
@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.ipynb")))
def test_notebook_runs(name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    printed = "".join(out.get("text", "") + out.get("data", {}).get("text/markdown", "") for out in outputs)
    for text in PRINTED[name]:
        assert text in printed
