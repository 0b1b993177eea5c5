"""The end of every command: an exit status, and one line where something went wrong."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import sentence

DEBUG_VARIABLE = "VTB_DEBUG"
# A file for the message, where a batch script would otherwise start the command again.
REFUSED_VARIABLE = "VTB_REFUSED"
USER_ERROR, OWN_FAULT, INTERRUPTED = 2, 70, 130
_ISSUES = "report it to the maintainers of nemo_vtb"


def guarded(command: Callable[[], int | None]) -> int:
    """Runs a command and returns its exit status.

    What its user can mend, ours or a host's, is one line on standard error and status 2. Anything else is a fault of
    nemo_vtb: one line that says so and status 70; with VTB_DEBUG set, every exception comes with its traceback.
    """
    try:
        return command() or 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        said = str(error) if isinstance(error, VTBError) else sentence(error)
        _say(f"vtb: {_one_line(said or _own_fault(error))}")
        # All else may pass: a file system that was away, a server that was not there yet.
        if isinstance(error, VTBError) and error.typed:
            _leave_word(_one_line(str(error)))
        return OWN_FAULT if said is None else USER_ERROR


def _say(line: str) -> None:
    """Prints to standard error, on a line of its own where a progress bar was left standing."""
    if "tqdm" not in sys.modules:
        print(line, file=sys.stderr)
        return
    from tqdm import tqdm

    tqdm.write(line, file=sys.stderr)


def _leave_word(line: str) -> None:
    if path := os.environ.get(REFUSED_VARIABLE):
        with contextlib.suppress(OSError):
            Path(path).write_text(f"{line}\n", encoding="utf-8")


def _own_fault(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if f"{os.sep}nemo_vtb{os.sep}" in frame.filename] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
    return (
        f"internal error, {type(error).__name__} at {place}: {error}; this is a fault of nemo_vtb, not yours: "
        f"{_ISSUES}, with the traceback that {DEBUG_VARIABLE}=1 in front of the command shows"
    )


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())
