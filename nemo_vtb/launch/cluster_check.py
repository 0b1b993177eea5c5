"""``vtb doctor --slurm``: what a run on the cluster would fall over, each with the remedy.

On a login node it asks the scheduler. Inside a job, ``srun -N2 vtb doctor --slurm /shared/folder`` tries what training
will do: the shared folder, a port of rank 0, a collective between all ranks.
"""

import os
import shutil
import socket
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line
from nemo_vtb.launch.scheduler import answer_of
from nemo_vtb.whole_files import write_text

if TYPE_CHECKING:
    from torch.distributed import Store

_COMMANDS = ("sbatch", "srun", "scontrol", "sinfo")
_SAVING_TAKES = 30
_PATIENCE = timedelta(seconds=30)


def check_cluster(folder: Path) -> int:
    """Prints what it finds; returns 1 when something is wrong, else 0."""
    ranks = int(os.environ.get("SLURM_NTASKS", 1)) if "SLURM_STEP_ID" in os.environ else 1
    if ranks > 1:
        lines, problems = check_step(folder, int(os.environ["SLURM_PROCID"]), ranks)
    else:
        lines, problems = check_scheduler()
        lines.append(f"from inside a job, this tries the network: srun -N2 vtb doctor --slurm {folder}")
    print("\n".join([*lines, *(f"PROBLEM {problem}" for problem in problems)]), flush=True)
    return 1 if problems else 0


def check_scheduler() -> tuple[list[str], list[str]]:
    """Asks Slurm for the settings that the job script relies on.

    Returns:
        What was found, and what is wrong with the remedy.
    """
    if missing := [name for name in _COMMANDS if shutil.which(name) is None]:
        return [], [f"{', '.join(missing)} not found: run this on a login node, or load Slurm's module"]
    try:
        config = answer_of(["scontrol", "show", "config"])
        partitions = answer_of(["sinfo", "-h", "-o", "%R|%D|%G|%l|%a"])
    except VTBError as error:
        return [], [f"the scheduler does not answer: {error}"]
    pairs = (line.partition("=") for line in config.splitlines())
    settings = {name.strip(): value.strip() for name, _, value in pairs}
    lines, problems = [f"slurm {settings.get('SLURM_VERSION', '?')} of cluster {settings.get('ClusterName', '?')}"], []
    wait = int(settings.get("KillWait", "0").split()[0])
    if wait < _SAVING_TAKES:
        problems.append(f"KillWait is {wait} s: after scancel a checkpoint must be saved in that time; ask for 30 s")
    for line in partitions.splitlines():
        name, nodes, gpus, limit, state = line.split("|")
        lines.append(f"partition {name}: {nodes} nodes, GPUs {gpus}, limit {limit}, {state}")
    return lines, problems


def check_step(folder: Path, rank: int, ranks: int) -> tuple[list[str], list[str]]:
    """Meets the other ranks as training would.

    Args:
        folder: That all nodes share.
        rank: Of this process.
        ranks: How many there are.

    Returns:
        What was found, on rank 0; what is wrong, on the rank it is wrong for.
    """
    me = f"rank {rank} on {os.environ.get('SLURMD_NODENAME') or socket.gethostname()}"
    try:
        address = _meet_in(folder, rank)
    except OSError as error:
        return [], [f"{me}: {folder} is not a folder that all nodes share: {error}"]
    try:
        return _meet_by(address, rank, ranks, me)
    except Exception as error:
        # Whatever torch raises here, the sentence a person needs is the same.
        where = ":".join(address)
        return [], [
            f"{me}: no collective with rank 0 at {where} within {_PATIENCE.seconds} s ({first_line(error)}); "
            "is the port open between nodes? With several networks, set NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME"
        ]


def _meet_in(folder: Path, rank: int) -> tuple[str, str]:
    note = folder / f".vtb_doctor.{os.environ.get('SLURM_JOB_ID')}.{os.environ.get('SLURM_STEP_ID')}"
    if rank == 0:
        with socket.socket() as probe:
            probe.bind(("", 0))
            address = (socket.gethostname(), str(probe.getsockname()[1]))
        write_text(note, " ".join(address))
        return address
    end = time.monotonic() + _PATIENCE.seconds
    while not note.exists():
        if time.monotonic() > end:
            raise FileNotFoundError(f"what rank 0 wrote to {note} is not seen here")
        time.sleep(0.1)
    host, port = note.read_text().split()
    return host, port


def _meet_by(address: tuple[str, str], rank: int, ranks: int, me: str) -> tuple[list[str], list[str]]:
    import torch
    from torch import distributed

    gpus = torch.cuda.device_count()
    store: Store = distributed.TCPStore(address[0], int(address[1]), ranks, rank == 0, timeout=_PATIENCE)
    backend = "nccl" if gpus else "gloo"
    if gpus:
        torch.cuda.set_device(int(os.environ.get("SLURM_LOCALID", 0)) % gpus)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=ranks, timeout=_PATIENCE)
    try:
        total = torch.ones(1, device="cuda" if gpus else "cpu")
        distributed.all_reduce(total)
        own: dict[str, Any] = {"GPUs": gpus, "torch": torch.__version__, "backend": backend}
        if gpus:
            own["NCCL"] = ".".join(map(str, torch.cuda.nccl.version()))
        everybody: list[Any] = [None] * ranks
        distributed.all_gather_object(everybody, (me, own))
    finally:
        distributed.destroy_process_group()
    if rank:
        return [], []
    different = [f"{name} has {facts}, {me} has {own}" for name, facts in everybody if facts != own]
    lines = [f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts.items()) for name, facts in everybody]
    remedy = "; every node needs the same"
    return [*lines, f"all {int(total)} ranks meet at {':'.join(address)}"], [line + remedy for line in different]
