"""Asking Slurm's programs: what one of them says, or one sentence on why it says nothing."""

import subprocess
from collections.abc import Sequence

from nemo_vtb.errors import VTBError

# A busy controller takes seconds; one that does not answer keeps its programs waiting for ever.
_SECONDS = 60.0


def answer_of(command: Sequence[str], script: str | None = None, seconds: float = _SECONDS) -> str:
    """Runs a program and returns what it printed.

    Args:
        command: Program and arguments.
        script: Its standard input.
        seconds: To wait.

    Raises:
        VTBError: If the program is missing, fails, or says nothing in that time.
    """
    name = command[0]
    try:
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=seconds)
    except FileNotFoundError as error:
        raise VTBError(f"{name} is not on this machine: run this on a login node, or load Slurm's module") from error
    except subprocess.TimeoutExpired as error:
        raise VTBError(f"{name} said nothing for {seconds:.0f} s") from error
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}, without a word"
        raise VTBError(f"{name} fails: {said}")
    return done.stdout + done.stderr
