"""The installed ``vtb`` in forks of a process that has imported its hosts and nothing of nemo_vtb.

python warm_vtb.py     reads jobs, one JSON object a line: argv, folder, variables, said; writes an exit code a line

Each run registers everything anew, as in a process of its own, without the eight seconds that importing NeMo takes.
"""

import contextlib
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# What Lightning leaves in the environment of a process that has trained, with a port that it still holds.
OF_ONE_PROCESS = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK")


def fresh_environment() -> dict[str, str]:
    """The environment, as one that no run of this process has written to."""
    return {name: value for name, value in os.environ.items() if name not in OF_ONE_PROCESS}


def warm_vtb(
    jobs: Iterable[tuple[str, list[str]]], folder: Path, script: str | None = None, **variables: str
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
    lines, places = [], {}
    for number, (name, argv) in enumerate(jobs):
        places[name] = folder / f"job_{number}"
        places[name].mkdir(parents=True)
        job = {"argv": argv, "folder": str(places[name]), "variables": variables, "script": script}
        lines.append(json.dumps({**job, "said": str(places[name] / "said.txt")}))
    done = subprocess.run(
        [sys.executable, __file__],
        input="\n".join(lines),
        env=fresh_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
    codes = [int(line) for line in done.stdout.splitlines() if line.lstrip("-").isdigit()]
    return {
        name: (code, (place / "said.txt").read_text())
        for (name, place), code in zip(places.items(), codes, strict=True)
    }


def _serve() -> None:
    import lightning.pytorch  # noqa: F401
    import nemo.collections.speechlm2
    import nemo.utils.exp_manager  # noqa: F401
    import peft  # noqa: F401
    import transformers  # noqa: F401

    assert not any(name.startswith("nemo_vtb") for name in sys.modules)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(job: dict[str, Any]) -> None:
    said = os.open(job["said"], os.O_WRONLY | os.O_CREAT)
    for number in (1, 2):
        os.dup2(said, number)
    os.chdir(job["folder"])
    os.environ.update(job["variables"])
    command = job["script"] or shutil.which("vtb")
    sys.argv = [command, *job["argv"]]
    code = 1
    try:
        with contextlib.redirect_stdout(sys.stderr):
            runpy.run_path(command, run_name="__main__")
        code = 0
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
