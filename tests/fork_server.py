"""Runs ``vtb`` and Python scripts as a shell calls them, in processes forked from one that has imported the libraries.

Importing NeMo takes eight seconds of a core; sixty commands would spend eight minutes on it. Nothing of nemo_vtb is
imported before the fork, so whatever a command registers, it registers itself, in the order of a user's.
"""

import argparse
import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from preloaded import FROZEN, MODULES


def serve(path: str, run: Callable[[list[str]], None]) -> None:
    """Answers ``fork_stub.py`` until it is killed; a caller that dies takes its fork with it.

    Args:
        path: Of the socket.
        run: Is given a caller's arguments, in a fork that has the caller's environment, folder and streams.
    """
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    running: dict[int, socket.socket] = {}
    while True:
        readable, _, _ = select.select([listener, *running.values()], [], [], 0.02 if running else None)
        for pid, caller in list(running.items()):
            if caller in readable and not caller.recv(1):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with contextlib.suppress(OSError):
                    caller.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
                running.pop(pid).close()
        if listener in readable:
            caller, _ = listener.accept()
            running[_fork(caller, listener, run)] = caller


def _fork(caller: socket.socket, listener: socket.socket, run: Callable[[list[str]], None]) -> int:
    _, streams, _, _ = socket.recv_fds(caller, 1, 3)
    wanted = json.loads(caller.makefile().readline())
    pid = os.fork()
    if pid == 0:
        listener.close()
        _become(wanted, streams, run)
    for stream in streams:
        os.close(stream)
    caller.sendall(f"{pid}\n".encode())
    return pid


def _become(wanted: dict[str, Any], streams: list[int], run: Callable[[list[str]], None]) -> None:
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.environ.clear()
    os.environ.update(wanted["env"])
    os.chdir(wanted["folder"])
    code: Any = 1
    try:
        run(wanted["arguments"])
        code = 0
    except SystemExit as error:
        code = error.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


def _run(vtb: str, arguments: list[str]) -> None:
    """Runs ``[mode, program, argument ...]``; ``parse`` as mode ends once the arguments are read."""
    mode, program, *rest = arguments
    # Of one that is to fork as well what it starts.
    sys.executable = os.environ.get("VTB_FORKS", sys.executable)
    if mode == "parse":
        _end_after_parsing()
    script = vtb if program == "vtb" else rest.pop(0)
    if script == "-m":
        # A kernel leaves when its parent is another than the one it was told.
        os.environ["JPY_PARENT_PID"] = str(os.getppid())
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        return
    sys.argv = [script, *rest]
    # As Python does for a script.
    sys.path.insert(0, str(Path(script).resolve().parent))
    runpy.run_path(script, run_name="__main__")


def _end_after_parsing() -> None:
    read = argparse.ArgumentParser.parse_args

    def parse_args(self: argparse.ArgumentParser, *given: Any, **named: Any) -> None:
        read(self, *given, **named)
        sys.exit(0)

    argparse.ArgumentParser.parse_args = parse_args  # type: ignore[method-assign]


def _main(path: str, vtb: str) -> None:
    for name in (*MODULES, FROZEN):
        importlib.import_module(name)
    assert not [name for name in sys.modules if name.split(".")[0] == "nemo_vtb"]
    serve(path, partial(_run, vtb))


if __name__ == "__main__":
    _main(*sys.argv[1:])
