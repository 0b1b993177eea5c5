"""Which files of which installed distributions the benchmarks need."""

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

# What the machine has, and so has not to be carried.
THERE = ("torch", "triton")
# Distributions that are imported, or looked for, but compute nothing in the benchmarks. Where a module of them is
# imported without asking whether it is there, it is named with them: ``stand_in.py`` stands in its place.
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "cuda-bindings": (),
    "cuda-pathfinder": (),
    "datasets": (),
    "llvmlite": (),
    "matplotlib": (),
    "numba": ("numba",),
    "onnx": ("onnx",),
    "pandas": ("pandas",),
    "pyarrow": (),
    "scikit-learn": (),
    "torchao": (),
    "torchaudio": (),
    "wandb": (),
}
_COMPILED = re.compile(r"\.(?:cpython-\d+-[\w-]+|abi3)?\.?so(?:\.[\d.]+)?$")
_NOT_CARRIED = re.compile(r"(?:^|/)(?:tests?|testing|__pycache__|docs|examples)/|\.(?:pyc|pyi|pxd|h|hpp|a|pyx|c|cpp)$")


class Carried(NamedTuple):
    """A file: where it is, where it goes, and the distribution it is of."""

    source: Path
    name: str
    owner: str


def closure(required: Iterable[str]) -> dict[str, Distribution]:
    """What is required, directly or not, by normalised name: neither what is there nor what is left out."""
    found: dict[str, Distribution] = {}
    waiting = [Requirement(line) for line in required]
    while waiting:
        wanted = waiting.pop()
        name = normal(wanted.name)
        if name in THERE or name in LEFT_OUT:
            continue
        try:
            known = distribution(wanted.name)
        except PackageNotFoundError:
            continue
        if name in found and not wanted.extras:
            continue
        found[name] = known
        for line in known.requires or ():
            needed = Requirement(line)
            extras = wanted.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def files_of(name: str, known: Distribution) -> Iterator[Carried]:
    """Everything importable that a distribution has installed, and what is known about it, but no bytecode."""
    left = (".pth", ".pyc", "RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
    for path in known.files or ():
        text = str(path)
        if text.startswith("..") or text.endswith(left):
            continue
        yield Carried(Path(str(known.locate_file(path))), text, name)


def is_compiled(name: str) -> bool:
    return bool(_COMPILED.search(name)) or ".libs/" in name


def is_source(name: str) -> bool:
    return not _NOT_CARRIED.search(name) and name.endswith((".py", "METADATA", "entry_points.txt"))
