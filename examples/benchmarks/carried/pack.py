"""Makes a folder that holds the benchmarks of a GPU and all they need but PyTorch, to be carried to a machine with one.

python examples/benchmarks/carried/pack.py FOLDER --python 3.12
python FOLDER/run.py --json FILE                                   # there

Carried are the sources of what the benchmarks require, and of its compiled and other files those that a run at the
smallest size opens here. Python is the version there; for another than this one, compiled files are taken from wheels.
"""

import argparse
import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution
from pathlib import Path

from files import LEFT_OUT, Carried, closure, files_of, is_compiled, is_source
from run import link_torch
from wheels import for_python

ROOT = Path(__file__).resolve().parents[3]
MOST_BYTES = 60_000_000
_HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
_FILTERS = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 2}]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="to be made")
    parser.add_argument("--python", default=_HERE, choices=("3.11", "3.12"), help="the version there; default: this")
    args = parser.parse_args(argv)
    if args.folder.exists():
        parser.error(f"{args.folder} exists: name a new folder")
    size = pack(args.folder, args.python)
    print(f"{args.folder}: {size / 1e6:.1f} MB, for Python {args.python} on Linux x86_64")


def pack(folder: Path, python: str) -> int:
    """Makes the folder; returns its bytes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    known = closure(project["dependencies"])
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        everything = [*_own(), *_stand_ins()]
        everything += [one for owner, one_of in known.items() for one in files_of(owner, one_of)]
        opened = _opened(work, everything)
        # Of what nothing is imported from, the name and version are all that is asked for.
        used = {one.owner for one in everything if one.name in opened and ".dist-info/" not in one.name}
        wanted = (is_source(one.name) and (one.owner in used or ".dist-info/" in one.name) for one in everything)
        carried = [
            one
            for one, source in zip(everything, wanted, strict=True)
            if source or one.name in opened or one.owner == "own"
        ]
        if python != _HERE:
            carried = _of_python(python, known, carried, work / "wheels")
        folder.mkdir(parents=True)
        with (
            lzma.open(folder / "files.tar.xz", "wb", filters=_FILTERS) as packed,
            tarfile.open(fileobj=packed, mode="w|") as archive,
        ):
            for one in sorted(carried, key=lambda one: (is_compiled(one.name), one.name)):
                archive.add(one.source.resolve(), one.name, recursive=False)
    versions = {owner: one_of.version for owner, one_of in sorted(known.items())}
    about = {"python": python, "version": project["version"], "carried": versions}
    (folder / "packed.json").write_text(json.dumps(about, indent=2) + "\n")
    shutil.copy(Path(__file__).with_name("run.py"), folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > MOST_BYTES:
        raise SystemExit(f"error: {folder} has {size / 1e6:.1f} MB, more than {MOST_BYTES / 1e6:.0f}")
    return size


def _own() -> Iterable[Carried]:
    """The package, its configs and the benchmarks, as they stand here."""
    for part in ("nemo_vtb", "conf", "examples/benchmarks"):
        for path in sorted((ROOT / part).rglob("*")):
            name = str(path.relative_to(ROOT))
            wanted = path.suffix != ".pyc" and path.is_file()
            if wanted and not name.startswith(("examples/benchmarks/results", "examples/benchmarks/tables/")):
                yield Carried(path, name, "own")


def _stand_ins() -> Iterable[Carried]:
    source = Path(__file__).with_name("stand_in.py")
    return [Carried(source, f"{module}/__init__.py", "own") for modules in LEFT_OUT.values() for module in modules]


def _opened(work: Path, everything: Iterable[Carried]) -> set[str]:
    """Which of the files a run at the smallest size opens, when there is nothing but them and PyTorch."""
    tree, torch, report = work / "files", work / "torch", work / "opened.json"
    names: dict[str, str] = {}
    for one in everything:
        if one.source.is_file():
            (tree / one.name).parent.mkdir(parents=True, exist_ok=True)
            if not (tree / one.name).exists():
                (tree / one.name).symlink_to(one.source.resolve())
            names[str(one.source.resolve())] = one.name
    link_torch(torch)
    command = [sys.executable, "-S", str(tree / "examples/benchmarks/carried/trace.py"), str(report)]
    seen = {"PYTHONPATH": f"{tree}{os.pathsep}{torch}", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, env=os.environ | seen, capture_output=True, text=True)
    found = json.loads(report.read_text()) if report.exists() else {"errors": [ended.stderr]}
    if found["errors"]:
        raise SystemExit(f"error: the benchmarks do not run with what is to be packed: {found['errors'][0]}")
    inside = {path.removeprefix(f"{tree}/") for path in found["opened"] if path.startswith(f"{tree}/")}
    return inside | {names[path] for path in found["mapped"] if path in names}


def _of_python(python: str, known: Mapping[str, Distribution], carried: list[Carried], folder: Path) -> list[Carried]:
    compiled = [one for one in carried if is_compiled(one.name)]
    owners = sorted({one.owner for one in compiled})
    others = for_python(python, [known[owner] for owner in owners], compiled, folder)
    return [one for one in carried if not is_compiled(one.name)] + others


if __name__ == "__main__":
    main()
