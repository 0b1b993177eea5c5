"""Real ranks over gloo, forked from one process that has imported NeMo, so that a rank starts in milliseconds."""

import multiprocessing
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from preloaded import FROZEN, MODULES

# Python 3.11's server of forks ignores the path it is given and an import that fails, and each rank imported NeMo anew.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = [*MODULES, "tiny_training"]
_CONTEXT.set_forkserver_preload([*_PRELOADED, FROZEN])


def preload(*modules: str) -> None:
    """Has more imported in the process that ranks are forked from; from a conftest, before a test starts one."""
    _PRELOADED.extend(modules)
    _CONTEXT.set_forkserver_preload([*_PRELOADED, FROZEN])


def run_ranks(
    function: Callable[..., None], *args: Any, ranks: int = 2, timeout: float = 120.0, **options: Any
) -> list[int | None]:
    """Runs ``function(*args, **options)`` once per rank; see ``exit_codes``."""
    return exit_codes(start_ranks(function, *args, ranks=ranks, **options), timeout)


def start_ranks(function: Callable[..., None], *args: Any, ranks: int = 2, **options: Any) -> list[BaseProcess]:
    """Starts ``function(*args, **options)`` once per rank and returns the processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = [_CONTEXT.Process(target=_rank, args=(rank, port, function, args, options)) for rank in range(ranks)]
    for process in processes:
        process.start()
    return processes


def exit_codes(processes: list[BaseProcess], timeout: float = 120.0) -> list[int | None]:
    """Waits and returns the exit codes, minus the signal where one ended a rank; kills what hangs, and fails."""
    end = time.monotonic() + timeout
    for process in processes:
        process.join(max(0.1, end - time.monotonic()))
    hung = [rank for rank, process in enumerate(processes) if process.is_alive()]
    for process in processes:
        process.kill()
    assert not hung, f"ranks {hung} hung"
    return [process.exitcode for process in processes]


def _rank(rank: int, port: str, function: Callable[..., None], args: tuple[Any, ...], options: dict[str, Any]) -> None:
    # Of workers that it starts: as in a process that was not itself started by multiprocessing.
    multiprocessing.set_start_method("fork", force=True)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "LOCAL_RANK": str(rank), "NODE_RANK": "0"}
    try:
        function(*args, **options)
    except Exception:
        traceback.print_exc(file=sys.stderr)
        sys.exit(1)
