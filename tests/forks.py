"""``vtb`` and ``python`` of a shell, forked from one process that has imported the libraries: fork_server.py."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_HERE = Path(__file__).parent
# What Lightning leaves in the environment of a process that has trained, with a port that it still holds.
OF_ONE_PROCESS = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK")
# What forks reads no code from its command line or standard input, and has no options of an interpreter.
_SHIM = """#!/bin/sh
case "$1" in
  -) cat > "script.$$.py"; set -- "script.$$.py" ;;
  -u) shift ;;
  -m) ;;
  -*) exec {python} "$@" ;;
esac
exec {call} "${{VTB_DOCS_MODE:-run}}" {program} "$@"
"""


def fresh_environment() -> dict[str, str]:
    """The environment, as one that no run of this process has written to."""
    return {name: value for name, value in os.environ.items() if name not in OF_ONE_PROCESS}


@dataclass(frozen=True)
class Forks:
    """A process that forks.

    Attributes:
        pid: Of it.
        call: What asks it to fork: mode, program and arguments follow.
        python: The command that forks in the place of an interpreter.
        fresh: PATH on which the commands start processes of their own.
        forked: PATH on which they fork.
    """

    pid: int
    call: list[str]
    python: str
    fresh: str
    forked: str

    def run(
        self, jobs: Iterable[tuple[str, list[str]]], folder: Path, script: str | None = None, **variables: str
    ) -> dict[str, tuple[int, str]]:
        """Runs ``vtb`` once per job, each in a folder of its own.

        Args:
            jobs: Name and arguments of each.
            folder: Holds the folders.
            script: Run in the place of ``vtb``.
            **variables: Of the environment.

        Returns:
            Exit code and what was said, by name.
        """
        program = ["python", script] if script else ["vtb"]
        ended = {}
        for number, (name, argv) in enumerate(jobs):
            place = folder / f"job_{number}"
            place.mkdir(parents=True)
            done = subprocess.run(
                [*self.call, "run", *program, *argv],
                cwd=place,
                env=fresh_environment() | variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
            )
            ended[name] = (done.returncode, done.stdout)
        return ended


@contextmanager
def forks(folder: Path) -> Iterator[Forks]:
    """Starts it, with its socket and commands in ``folder``."""
    bins = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    installed = shutil.which("vtb", path=bins)
    assert installed, "the command vtb is not installed"
    socket, shims = folder / "socket", folder / "bin"
    server = [sys.executable, str(_HERE / "fork_server.py"), str(socket), installed]
    process = subprocess.Popen(server, stdin=subprocess.DEVNULL, env=fresh_environment())
    call = [sys.executable, "-S", "-E", str(_HERE / "fork_stub.py"), str(socket)]
    shims.mkdir()
    for program in ("vtb", "python"):
        (shims / program).write_text(_SHIM.format(python=sys.executable, call=" ".join(call), program=program))
        (shims / program).chmod(0o755)
    try:
        while not socket.exists():
            assert process.poll() is None, "the process that forks did not start"
            time.sleep(0.1)
        yield Forks(process.pid, call, str(shims / "python"), bins, f"{shims}{os.pathsep}{bins}")
    finally:
        process.kill()
        process.wait()
