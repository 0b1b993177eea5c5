"""A real Slurm of two nodes on this machine, with its own key, ports and folder, for as long as the tests need it."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fork_server import serve
from rank_server import rank
from ranks import _CONTEXT

STUB = Path(__file__).parents[1] / "fork_stub.py"
PACKAGES = "slurmctld slurmd slurm-client munge"
# A requeued job waits for cred_expire: two minutes by default, and where it is 4 s or less.
CONFIG = """
ClusterName=vtb
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=6
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=1,sched_interval=1
KillWait=5
UnkillableStepTimeout=300
ReturnToService=2
MpiDefault=none
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{ports[1]}-{ports[2]}] CPUs=1 State=UNKNOWN
PartitionName=batch Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The cluster: ``folder`` with a pid file per daemon. Starting takes about two seconds."""
    if shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        message = f"Slurm is not installed; run: apt-get install -y {PACKAGES}"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    folder = tmp_path_factory.mktemp("slurm")
    for name in ("state", "spool.n1", "spool.n2"):
        (folder / name).mkdir()
    first = _free_ports(3)
    settings = {"host": socket.gethostname().split(".")[0], "ports": first, "user": getpass.getuser(), "folder": folder}
    (folder / "slurm.conf").write_text(CONFIG.format(**settings))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=yes\n")
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    before = dict(os.environ)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    os.environ["PATH"] += ":/usr/sbin"
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
    munge = [f"--{option}={folder / name}" for option, name in (files | {"seed-file": "munge.seed"}).items()]
    try:
        _call("munged", "--force", *munge)
        _call("slurmctld")
        for node in ("n1", "n2"):
            subprocess.Popen(["slurmd", "-N", node], start_new_session=True)
        _wait(lambda: _call("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2", f"two idle nodes, see {folder}")
        yield SimpleNamespace(folder=folder)
    finally:
        for path in [*folder.glob("slurm*.pid"), folder / "munged.pid"]:
            if path.exists():
                for number in (signal.SIGCONT, signal.SIGTERM):
                    os.kill(int(path.read_text()), number)
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def rank_command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The command whose argument is the options of ``tiny_training.train`` as JSON."""
    path = str(tmp_path_factory.mktemp("ranks") / "socket")
    server = _CONTEXT.Process(target=serve, args=(path, rank), daemon=True)
    server.start()
    _wait(Path(path).exists, "the rank server")
    yield [sys.executable, "-S", "-E", str(STUB), path]
    server.kill()


@pytest.fixture
def until() -> Callable[..., None]:
    """Waits for a condition, or fails with what it waited for."""
    return _wait


def _wait(condition: Callable[[], object], what: str, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.1)


def _call(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def _free_ports(count: int) -> list[int]:
    """Ports in a row."""
    # Two workers of pytest may look at the same time.
    for first in range(17100 + os.getpid() % 300 * 100, 60000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, probe in enumerate(sockets):
                probe.bind(("", first + offset))
            return list(range(first, first + count))
        except OSError:
            continue
        finally:
            for probe in sockets:
                probe.close()
    raise RuntimeError("no free ports")
