"""Checks an installation and says the remedy of what is wrong."""

import ast
import sys
from pathlib import Path

from nemo_vtb.errors import VTBError
from nemo_vtb.registry import LAUNCHER_NAMES
from nemo_vtb.versions import check_versions


def doctor(launcher: str | None = None) -> int:
    """Prints one line per check; returns 1 when something is wrong, else 0."""
    problems = check_versions()
    print("versions: " + ("ok" if not problems else ""))
    for problem in problems:
        print(f"  {problem}")
    plugin = _plugin_found()
    print("hydra plugin: " + ("ok" if plugin else "not found; run: pip install nemo-vtb (or pip install -e .)"))
    print(f"python: {sys.version.split()[0]}; {_device()}")
    fine = not problems and plugin
    if launcher is not None:
        missing = missing_names(launcher)
        fine &= not missing
        print(f"launcher {launcher}: " + ("ok" if not missing else f"does not import {', '.join(missing)}"))
    return 0 if fine else 1


def missing_names(launcher: str) -> list[str]:
    """Lists which of the names nemo_vtb rebinds a launcher script does not import or define.

    Raises:
        VTBError: If the file is missing or is not Python.
    """
    path = Path(launcher)
    if not path.is_file():
        raise VTBError(f"no launcher at {launcher}")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise VTBError(f"{launcher}:{error.lineno}: not a Python file: {error.msg}") from error
    bound = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    bound |= {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return [name for name in LAUNCHER_NAMES if name not in bound]


def _plugin_found() -> bool:
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    return any(plugin.__name__ == "NeMoVTBSearchPath" for plugin in Plugins.instance().discover(SearchPathPlugin))


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, NCCL {torch.cuda.nccl.version()}"
    return f"no GPU, {torch.get_num_threads()} CPU threads"
