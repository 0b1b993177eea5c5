"""``vtb launch slurm``: fills in a job script, looks for what would fail after hours in the queue, and submits it."""

import argparse
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nemo_vtb.errors import VTBError
from nemo_vtb.launch.scheduler import answer_of
from nemo_vtb.launch.script import render
from nemo_vtb.paths import slurm_dir

# More is a slip of some zeros.
_MOST = 10**6
_ATTEMPTS = 3
_PART = "{part}"
_SBATCH = re.compile(r"(--)?[a-z][a-z0-9-]*(=.+)?")
# The signal that the script of a job that trains waits for, and how long before the limit it comes.
_SIGNAL = re.compile(r"R?B:R?(?:SIG)?(?:USR1|10)(?:@(\d+))?", re.IGNORECASE)
# Seconds between the signal and the limit in which the script itself must come to its end.
_AFTER_RANKS = 60
# Other options of sbatch by which a cluster gives GPUs.
_GIVES_GPUS = ("gpus", "gpus-per-task", "gpus-per-socket")
_GRES_GPUS = re.compile(r"(?:gres[:/])?gpu(?::[^,:=]*[^,:=\d][^,:=]*)?(?::(\d+))?(?:\([^)]*\))?")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command; what each process runs follows them after ``--``."""
    parser.add_argument(
        "--run", dest="folder", required=True, help="folder of the run, on a file system that all nodes share"
    )
    parser.add_argument("--nodes", type=int, default=1, help="of one job")
    parser.add_argument("--gpus-per-node", type=int, default=8, help="0 runs one process per node on the CPU")
    parser.add_argument("--cpus-per-task", type=int, default=8, help="cores of one process")
    parser.add_argument("--time", default="04:00:00", help="limit of one job; the run goes on in the next")
    parser.add_argument("--parts", type=int, help="run an array of so many jobs that make data; see generate.sbatch")
    parser.add_argument("--container", default="", help='what wraps the command, e.g. "apptainer exec --nv vtb.sif"')
    parser.add_argument("--srun", default="", help='more for srun, e.g. "--container-image=vtb.sqsh"')
    parser.add_argument(
        "--max-failures", type=int, default=_ATTEMPTS, help="attempts in a row without a new checkpoint"
    )
    parser.add_argument("--sbatch", action="append", default=[], metavar="NAME=VALUE", help="any other sbatch option")
    parser.add_argument("--dry-run", action="store_true", help="check and print the script, submit nothing")


def run(args: argparse.Namespace, reader: argparse.ArgumentParser) -> int:
    """Renders, checks and, unless it is a dry run, submits.

    Args:
        args: Of the command.
        reader: Of the whole program, for a command of ours behind ``--``.

    Raises:
        VTBError: Names what cannot work.
    """
    if args.overrides[:1] != ["--"]:
        raise VTBError("what should run? Put it after --, e.g. -- vtb train --config-name=NAME +cluster=slurm")
    command = _found(args.overrides[1:], contained=bool(args.container or args.srun))
    folder = Path(args.folder).absolute()
    script = make_script(args, folder, command)
    for note in check(command, folder, reader, bool(args.container or args.srun), args.parts):
        print(f"note: {note}", file=sys.stderr)
    if args.dry_run:
        _ask_scheduler(script)
        print(script, end="")
        return 0
    if shutil.which("sbatch") is None:
        raise VTBError("sbatch is not on this machine; run this on a login node, or add --dry-run to see the script")
    path = folder / "slurm" / ("generate.sbatch" if args.parts else "train.sbatch")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script, encoding="utf-8")
    print(answer_of(["sbatch", "--parsable", str(path)]).strip())
    return 0


def make_script(args: argparse.Namespace, folder: Path, command: Sequence[str]) -> str:
    """The filled-in script.

    Raises:
        VTBError: On an option that is none.
    """
    counts = {"nodes": args.nodes, "cpus-per-task": args.cpus_per_task, "max-failures": args.max_failures}
    counts |= {} if args.parts is None else {"parts": args.parts}
    for name, count in {**counts, "gpus-per-node": args.gpus_per_node + 1}.items():
        if not 1 <= count <= _MOST:
            least = "0" if name == "gpus-per-node" else "1"
            raise VTBError(f"--{name} is out of range: a whole number of at least {least}, up to {_MOST}")
    if not all(_SBATCH.fullmatch(option) for option in args.sbatch):
        raise VTBError(f"--sbatch {' '.join(args.sbatch)}: each is NAME=VALUE, e.g. --sbatch account=me")
    if args.parts:
        for name, given in {"nodes": args.nodes > 1, "max-failures": args.max_failures != _ATTEMPTS}.items():
            if given:
                raise VTBError(f"--{name} is of a job that trains; with --parts each job has one node: leave it out")
    options: dict[str, str | None] = {"time": args.time, "cpus-per-task": str(args.cpus_per_task)}
    settings = {"VTB_RUN": str(folder), "VTB_CONTAINER": args.container, "VTB_SRUN": args.srun}
    given = dict(option.removeprefix("--").partition("=")[::2] for option in args.sbatch)
    # In the name of a file, sbatch makes something else of a single one.
    output = str(folder).replace("%", "%%")
    if args.parts:
        options |= {"array": f"0-{args.parts - 1}", "output": f"{output}/slurm/%A-%a.out"}
        if args.gpus_per_node:
            options["gpus-per-node"] = str(args.gpus_per_node)
    else:
        gpus = str(args.gpus_per_node) if args.gpus_per_node else None
        options |= {"nodes": str(args.nodes), "gpus-per-node": gpus, "ntasks-per-node": gpus or "1"}
        options["output"] = f"{output}/slurm/%j.out"
        settings["VTB_MAX_FAILURES"] = str(args.max_failures)
        if "signal" in given:
            settings["VTB_LEAVE_WITHIN"] = os.environ.get("VTB_LEAVE_WITHIN") or _leave_within(given["signal"])
    if _gives_gpus(given, args.gpus_per_node):
        options["gpus-per-node"] = None
    options |= given
    template = slurm_dir() / ("generate.sbatch" if args.parts else "train.sbatch")
    return render(template.read_text(encoding="utf-8"), options, settings, command)


def _leave_within(signal: str) -> str:
    """Seconds that ranks have to save and leave, where the signal comes at another time before the limit.

    Raises:
        VTBError: If the job's script would not hear it.
    """
    found = _SIGNAL.fullmatch(signal)
    if found is None:
        raise VTBError(
            f"--sbatch signal={signal}: the script of the job saves and goes on when it hears USR1, some time before "
            "the limit: say --sbatch signal=B:USR1@SECONDS, or leave it out for 180"
        )
    # Slurm's own number, where none is given.
    seconds = int(found[1] or 60)
    return str(max(seconds - _AFTER_RANKS, seconds // 2))


def _gives_gpus(given: Mapping[str, str], per_node: int) -> bool:
    """Whether another option of sbatch asks for the GPUs of a node.

    Raises:
        VTBError: If it asks for another number of them.
    """
    counts = [found[1] for entry in given.get("gres", "").split(",") if (found := _GRES_GPUS.fullmatch(entry))]
    for count in counts:
        if per_node and int(count or 1) != per_node and "ntasks-per-node" not in given:
            raise VTBError(
                f"--sbatch gres={given['gres']} gives {count or 1} GPUs per node, and there would be a process for "
                f"each of {per_node}: add --gpus-per-node {count or 1}"
            )
    return bool(counts) or any(name in given for name in _GIVES_GPUS)


def check(
    command: Sequence[str],
    folder: Path,
    reader: argparse.ArgumentParser,
    contained: bool = False,
    parts: int | None = None,
) -> list[str]:
    """Looks for what would fail once the job starts.

    Args:
        command: What each process runs.
        folder: Of the run.
        reader: Of the whole program ``vtb``.
        contained: Whether a container brings the command.
        parts: Of an array that makes data.

    Returns:
        Notes on what may be meant, but rarely is.

    Raises:
        VTBError: Names what cannot work.
    """
    if not command:
        raise VTBError("nothing stands after --")
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    if not parent.is_dir():
        raise VTBError(f"--run {folder}: {parent} is a file, not a folder")
    if not os.access(parent, os.W_OK):
        raise VTBError(f"--run {folder}: cannot write to {parent}")
    if not contained and shutil.which(command[0]) is None:
        raise VTBError(f"'{command[0]}' is not a program here; a container that has it is named with --container")
    launcher = next((word for word in command[1:] if word.endswith(".py")), None)
    plugged = any(word.startswith("+vtb@_global_") for word in command)
    if launcher is not None and not contained:
        if not Path(launcher).is_file():
            raise VTBError(f"no script at {launcher}")
        if plugged:
            from nemo_vtb.doctor import missing_names

            if missing := missing_names(launcher):
                raise VTBError(f"{launcher} does not import {', '.join(missing)}, so +vtb@_global_ cannot select us")
    ours = _of_vtb(command)
    if ours is not None:
        _check_ours(ours, reader, parts)
    elif parts and parts > 1 and not any(_PART in word for word in command):
        return [f"no word of the command holds {_PART}: every part does the same, unless it asks Slurm for its number"]
    resumes = any("cluster=" in word or "resume_if_exists=" in word for word in command)
    if (plugged or (ours or [""])[0] == "train") and not resumes:
        return ["neither +cluster=slurm nor exp_manager.resume_if_exists is given: a requeued job may start anew"]
    return []


def _of_vtb(command: Sequence[str]) -> list[str] | None:
    """The arguments of a command of ours, which may be called as a module; None for any other."""
    if Path(command[0]).name == "vtb":
        return list(command[1:])
    if list(command[1:3]) in (["-m", "nemo_vtb"], ["-m", "nemo_vtb.cli"]):
        return list(command[3:])
    return None


def _check_ours(words: Sequence[str], reader: argparse.ArgumentParser, parts: int | None) -> None:
    """Reads a command of ours as it will be read, and composes its config."""
    has_part = any(_PART in word for word in words)
    if parts and parts > 1 and not has_part:
        raise VTBError(
            f"--parts {parts}: no word of the command holds {_PART}, so every part would do the same work in the same "
            "place: give it its own, e.g. 'part={part}/{parts}'"
        )
    if has_part and not parts:
        raise VTBError(f"{_PART} is filled in for the jobs of an array: say how many with --parts N")
    # As the first job has them.
    words = [word.replace(_PART, "0").replace("{parts}", str(parts)) for word in words]
    args, rest = reader.parse_known_args(words)
    configured, open_ended = hasattr(args, "config_name"), getattr(args, "takes_overrides", False)
    unknown = [word for word in rest if not open_ended or (configured and word.startswith("-"))]
    if unknown:
        raise VTBError(f"vtb {' '.join(words)}: unrecognized arguments: {' '.join(unknown)}")
    if configured and args.config_name:
        from nemo_vtb.config import compose

        # Of a sweep, lists of values stand for one run each.
        swept = getattr(args, "multirun", False)
        compose(args.config_name, [word for word in rest if not (swept and "," in word)], args.config_dir)


def _found(command: list[str], contained: bool) -> list[str]:
    """The command, by its path where only the environment of this Python has it: jobs need not activate that."""
    if not command or contained or shutil.which(command[0]):
        return command
    beside = shutil.which(command[0], path=str(Path(sys.executable).parent))
    return [beside or command[0], *command[1:]]


def _ask_scheduler(script: str) -> None:
    if shutil.which("sbatch") is None:
        print("note: sbatch is not on this machine, so the scheduler was not asked", file=sys.stderr)
        return
    try:
        # A machine may have Slurm's programs and no cluster.
        answer_of(["sinfo"])
    except VTBError as error:
        print(f"note: Slurm does not answer, so the scheduler was not asked: {error}", file=sys.stderr)
        return
    print(f"note: {answer_of(['sbatch', '--test-only'], script).strip()}", file=sys.stderr)
