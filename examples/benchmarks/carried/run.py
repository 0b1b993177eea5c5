"""Runs the benchmarks of this folder on a machine that has PyTorch and nothing else.

python FOLDER/run.py --json FILE                          # on the GPU, eight minutes at most
python FOLDER/run.py --device cpu --tiny --json FILE      # whether it runs at all

Everything is unpacked to a temporary folder and gone afterwards. Nothing is installed or fetched. Of the packages that
are installed here, PyTorch and what it requires are seen, and no others.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where the measurements go")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes of a test, which measure nothing")
    parser.add_argument("--limit", type=int, default=450, help="seconds; what was measured until then is kept")
    args = parser.parse_args()
    packed = json.loads((HERE / "packed.json").read_text())
    if problem := unfit(packed, args.device):
        print(f"error: {problem}", file=sys.stderr)
        return 2
    args.json.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nemo_vtb_") as name:
        files, torch = Path(name, "files"), Path(name, "torch")
        with tarfile.open(HERE / "files.tar.xz") as archive:
            archive.extractall(files, filter="data")
        link_torch(torch)
        job = files / "examples" / "benchmarks" / "carried" / "job.py"
        # Without `site`, so that other versions of the same packages are not seen.
        command = [sys.executable, "-S", str(job), "--device", args.device, "--json", str(args.json.resolve())]
        command += ["--seconds", str(args.limit), *(["--tiny"] if args.tiny else [])]
        seen = {
            "PYTHONPATH": os.pathsep.join(map(str, (files, torch))),
            "HF_HUB_OFFLINE": "1",
            "TMPDIR": name,
        }
        return run(command, os.environ | seen, args.limit)


def unfit(packed: dict[str, str], device: str) -> str:
    """What keeps the folder from running here, with the remedy; empty where nothing does."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if here != packed["python"]:
        return (
            f"this folder is for Python {packed['python']}, this is {here}: run it with python{packed['python']}, "
            f"or pack it with pack.py --python {here}"
        )
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return f"this folder is for Linux on x86_64, this is {sys.platform} on {platform.machine()}"
    try:
        import torch
    except ImportError as error:
        return f"PyTorch does not import with {sys.executable} ({error}): run this with the Python that has it"
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < (2, 6):
        return f"PyTorch 2.6 or later is needed, this is {torch.__version__}"
    if device == "cuda" and not torch.cuda.is_available():
        return "PyTorch sees no CUDA GPU here: --device cpu --tiny shows whether the rest works"
    return ""


def link_torch(folder: Path) -> None:
    """Links PyTorch and what it requires, as it is installed here, and nothing of what lies beside it."""
    folder.mkdir()
    waiting, seen = ["torch"], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            known = distribution(name)
        except PackageNotFoundError:
            continue
        waiting += [re.split(r"[^\w.-]", line)[0] for line in known.requires or () if "extra ==" not in line]
        _link(known, folder)
    if not (folder / "torch").exists():  # built on the spot, without a list of its files
        import torch

        (folder / "torch").symlink_to(Path(torch.__file__).parent)


def _link(known: Distribution, folder: Path) -> None:
    for path in known.files or ():
        top = path.parts[0]
        if top in ("..", "/", "__pycache__") or top.endswith(".pth") or (folder / top).exists():
            continue
        there = Path(str(known.locate_file(top)))
        if there.exists():
            (folder / top).symlink_to(there)


def run(command: list[str], environment: dict[str, str], limit: int) -> int:
    """Runs in a group of processes of its own, none of which outlives the limit."""
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        print(f"error: stopped after {limit} s; the JSON has what was measured until then", file=sys.stderr)
        return 124
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
