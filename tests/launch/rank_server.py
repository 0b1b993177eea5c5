"""Forks ranks for ``rank_stub.py`` from a process that has imported NeMo: a rank starts at once, not in ten seconds."""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path

from tiny_training import CHECKPOINT, train


def serve(path: str) -> None:
    """Answers until it is killed; a stub that dies takes its rank with it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    ranks: dict[int, socket.socket] = {}
    while True:
        readable, _, _ = select.select([listener, *ranks.values()], [], [], 0.02)
        for pid, stub in list(ranks.items()):
            if stub in readable and not stub.recv(1):
                os.kill(pid, signal.SIGKILL)
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                _tell(ranks.pop(pid), os.waitstatus_to_exitcode(status))
        if listener in readable:
            stub, _ = listener.accept()
            ranks[_fork(stub, listener)] = stub


def _tell(stub: socket.socket, code: int) -> None:
    with contextlib.suppress(OSError):
        stub.sendall(f"{code}\n".encode())
    stub.close()


def _fork(stub: socket.socket, listener: socket.socket) -> int:
    _, outputs, _, _ = socket.recv_fds(stub, 1, 2)
    wanted = json.loads(stub.makefile().readline())
    pid = os.fork()
    if pid == 0:
        listener.close()
        _become(wanted, outputs)
    for output in outputs:
        os.close(output)
    stub.sendall(f"{pid}\n".encode())
    return pid


def _become(wanted: dict, outputs: list[int]) -> None:
    os.setsid()
    for number, output in zip((1, 2), outputs, strict=True):
        os.dup2(output, number)
    os.environ.clear()
    os.environ.update(wanted["env"])
    os.chdir(wanted["folder"])
    code = 1
    try:
        rank(*wanted["arguments"])
        code = 0
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def rank(options: str) -> None:
    """Trains as the job's script asks, from the last checkpoint where there is one."""
    folder = Path(os.environ["VTB_RUN"])
    (folder / f"pid.{os.environ['RANK']}").write_text(str(os.getpid()))
    nodes, devices = int(os.environ["VTB_NODES"]), int(os.environ["VTB_DEVICES"])
    train(
        folder, "slurm", devices=devices, num_nodes=nodes, resume=(folder / CHECKPOINT).exists(), **json.loads(options)
    )
