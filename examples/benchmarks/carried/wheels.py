"""Compiled files of other Python versions, from the wheels of the same distributions."""

import subprocess
import sys
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution
from pathlib import Path

from files import Carried, is_compiled

# Of wheels; pip takes each as it stands.
_PLATFORMS = ("1", "2010", "2014", "_2_5", "_2_12", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28", "_2_31", "_2_34")


def for_python(python: str, known: Iterable[Distribution], here: Iterable[Carried], folder: Path) -> list[Carried]:
    """The files of another Python in the place of those of this one.

    Args:
        python: As in ``3.12``.
        known: The distributions that the files are of.
        here: Compiled files that the benchmarks need in the Python that runs this.
        folder: Where wheels are downloaded to and unpacked.
    """
    pins = [f"{one.metadata['Name']}=={one.version}" for one in known]
    platforms = [option for name in _PLATFORMS for option in ("--platform", f"manylinux{name}_x86_64")]
    command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:", "-d", str(folder)]
    subprocess.run([*command, "--python-version", python, "--implementation", "cp", *platforms, *pins], check=True)
    modules = {_module(one.name): one for one in here if ".libs/" not in one.name}
    found = []
    for path in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(path) as wheel:
            compiled = [name for name in wheel.namelist() if is_compiled(name) and not name.endswith("/")]
            wanted = [name for name in compiled if _module(name) in modules or ".libs/" in name]
            wheel.extractall(folder / "files", wanted)
            found += [Carried(folder / "files" / name, name, path.name) for name in wanted]
    if missing := modules.keys() - {_module(one.name) for one in found}:
        raise SystemExit(f"error: the wheels for Python {python} have no {', '.join(sorted(missing))}")
    return _linked(found)


def _linked(found: list[Carried]) -> list[Carried]:
    """Without the libraries that nothing kept names."""
    kept = [one for one in found if ".libs/" not in one.name]
    libraries = [one for one in found if ".libs/" in one.name]
    waiting = [one.source.read_bytes() for one in kept]
    while waiting:
        content = waiting.pop()
        for one in [one for one in libraries if Path(one.name).name.encode() in content]:
            libraries.remove(one)
            kept.append(one)
            waiting.append(one.source.read_bytes())
    return kept


def _module(name: str) -> str:
    """A compiled module's path without what its name says of Python and platform."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"
