"""``vtb`` and ``python`` of a shell, forked from one process that has imported the libraries: docs/fork_server.py."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
_STUB = _HERE / "launch" / "rank_stub.py"
# What forks reads no standard input, and no code from its command line.
_SHIM = """#!/bin/sh
if [ "$1" = - ]; then cat > "script.$$.py"; set -- "script.$$.py"; fi
if [ "$1" = -c ]; then exec {python} "$@"; fi
exec {call} "$VTB_DOCS_MODE" {program} "$@"
"""


@dataclass(frozen=True)
class Forks:
    """A process that forks.

    Attributes:
        pid: Of it.
        call: What asks it to fork: mode, program and arguments follow.
        fresh: PATH on which the commands start processes of their own.
        forked: PATH on which they fork; ``VTB_DOCS_MODE`` is to be set.
    """

    pid: int
    call: list[str]
    fresh: str
    forked: str


@contextmanager
def forks(folder: Path) -> Iterator[Forks]:
    """Starts it, with its socket and commands in ``folder``."""
    bins = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    installed = shutil.which("vtb", path=bins)
    assert installed, "the command vtb is not installed"
    socket, shims = folder / "socket", folder / "bin"
    server = [sys.executable, str(_HERE / "docs" / "fork_server.py"), str(socket), installed]
    process = subprocess.Popen(server, stdin=subprocess.DEVNULL)
    call = [sys.executable, "-S", "-E", str(_STUB), str(socket)]
    shims.mkdir()
    for program in ("vtb", "python"):
        (shims / program).write_text(_SHIM.format(python=sys.executable, call=" ".join(call), program=program))
        (shims / program).chmod(0o755)
    try:
        while not socket.exists():
            assert process.poll() is None, "the process that forks did not start"
            time.sleep(0.1)
        yield Forks(process.pid, call, bins, f"{shims}{os.pathsep}{bins}")
    finally:
        process.kill()
        process.wait()
