"""Scripts of NeMo's shape, run as ``python script.py ...`` in a process that has imported NeMo."""

import os
import runpy
import sys
from pathlib import Path

from ranks import run_ranks


def run_script(folder: Path, script: str, arguments: list[str], variables: dict[str, str]) -> None:
    """Runs it in its folder; ``said.txt`` receives what it says."""
    output = os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(output, number)
    os.chdir(folder)
    os.environ.update(variables)
    sys.argv = [script, *arguments]
    # As Python does for a script.
    sys.path.insert(0, str(Path(script).resolve().parent))
    runpy.run_path(script, run_name="__main__")


def launch(folder: Path, *arguments: str, script: str = "launcher.py", **variables: str) -> tuple[int | None, str]:
    """Returns the exit code and what was said."""
    (folder / "said.txt").unlink(missing_ok=True)
    [code] = run_ranks(run_script, folder, script, arguments, variables, ranks=1)
    return code, (folder / "said.txt").read_text()
