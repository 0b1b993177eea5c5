"""How many small faults in the pure functions the tests see: a random sample of mutants, each judged by its tests.

python examples/benchmarks/mutants.py --json examples/benchmarks/results/mutants.json

Every mutant of `nemo_vtb/parts` and `nemo_vtb/data/blend` is listed (`mutations.py` says what is changed) and shuffled
with a seed; the first are judged, by the test files that `mutants.toml` names for their file. A mutant lives in memory:
an import hook gives it to a fork of a process that has imported the libraries and nothing of ours, and to the processes
which the tests start; loops are compiled afresh. On the unchanged code all must pass in the time a mutant has.
Survivors that no test could see are named in `mutants.toml`, with the reason, and count as survivors all the same.
"""

import argparse
import ast
import contextlib
import json
import marshal
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mutations import mutated, mutations

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]
_PLACES = ("nemo_vtb/parts", "nemo_vtb/data/blend")
_LIBRARIES = ("torch", "lhotse", "numba", "hypothesis", "peft", "lightning.pytorch", "nemo.collections.speechlm2")
# Seconds of the processor for one mutant.
_LIMIT = 90
_KNOWN = tomllib.loads((_HERE / "mutants.toml").read_text(encoding="utf-8"))
_HOOK = """
import importlib.abc, importlib.machinery, importlib.util, marshal, sys
class Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, name):
        with open({code!r}, "rb") as file:
            return marshal.load(file)
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            return importlib.util.spec_from_file_location(name, {file!r}, loader=Loader(name, {file!r}))
sys.meta_path.insert(0, Finder())
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="where to write what was found")
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--only", default="", help="of the sample, those in files whose path holds this")
    args = parser.parse_args()
    output = None if args.json is None else args.json.resolve()
    os.chdir(_ROOT)
    everything = listed()
    order = random.Random(args.seed).sample(everything, len(everything))[: args.sample]
    sample = [mutant for mutant in order if args.only in mutant[0]]
    about = _about(f"python {' '.join(sys.argv)}", args.seed)
    for name in ("pytest", *_LIBRARIES):
        __import__(name)
    judged: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for one in judge(sample, Path(scratch), args.jobs):
            judged.append(one)
            print(json.dumps(one, ensure_ascii=False), flush=True)
            if output is not None:
                text = json.dumps(found(len(everything), judged) | {"environment": about}, indent=2, ensure_ascii=False)
                output.write_text(text + "\n", encoding="utf-8")
        # Where a mutant survived, the tests have passed already.
        seen = {one["file"] for one in judged} - {one["file"] for one in judged if one["verdict"] == "survived"}
        plain = list(judge([(file, -1) for file in sorted(seen)], Path(scratch) / "plain", args.jobs))
    failing = [one for one in plain if one["verdict"] != "survived"]
    print(json.dumps(failing or found(len(everything), judged)["verdicts"], indent=2))
    return len(failing)


def found(mutants: int, judged: list[dict[str, Any]]) -> dict[str, Any]:
    """The counts, and every verdict."""
    counts = Counter(one["verdict"] for one in judged)
    return {
        "mutants": mutants,
        "sample": len(judged),
        "verdicts": counts,
        "killed_share": 1 - counts["survived"] / len(judged),
        "equivalent": sum("equivalent" in one for one in judged),
        "judged": sorted(judged, key=lambda one: (one["file"], one["number"])),
    }


def listed() -> list[tuple[str, int]]:
    """Every mutant: its file, and which of the file's mutations."""
    files = [path for place in _PLACES for path in sorted(Path(place).rglob("*.py"))]
    return [(str(file), number) for file in files for number, _ in enumerate(mutations(ast.parse(file.read_text())))]


def tests_of(file: str) -> list[str]:
    """The test files that judge a file's mutants, the quickest first."""
    return next(tests for place, tests in _KNOWN["tests"].items() if file.startswith(f"nemo_vtb/{place}"))


def judge(sample: list[tuple[str, int]], scratch: Path, jobs: int) -> Iterable[dict[str, Any]]:
    """The verdict on each mutant, as they come; number -1 is the unchanged file."""
    begun: dict[int, tuple[dict[str, Any], Path]] = {}
    waiting = list(enumerate(sample))
    while waiting or begun:
        if waiting and len(begun) < jobs:
            place, (file, number) = waiting.pop(0)
            folder = scratch / str(place)
            folder.mkdir(parents=True)
            text = Path(file).read_text(encoding="utf-8")
            tree, said, line = mutated(text, number) if number >= 0 else (ast.parse(text), "none", 0)
            (folder / "code").write_bytes(marshal.dumps(compile(tree, str(_ROOT / file), "exec")))
            pid = os.fork()
            if pid == 0:
                _run(file, folder)
            begun[pid] = ({"file": file, "line": line, "number": number, "mutation": said}, folder)
            continue
        pid, status, used = os.wait4(-1, 0)
        about, folder = begun.pop(pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        yield {**about, **_verdict(status, folder, about), "cpu_s": round(used.ru_utime + used.ru_stime, 1)}


def _run(file: str, folder: Path) -> None:
    """Judges a mutant in this process, which ends with it."""
    import numba
    import pytest

    os.setsid()
    module = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    hook = _HOOK.format(code=str(folder / "code"), module=module, file=str(_ROOT / file))
    (folder / "sitecustomize.py").write_text(hook)
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    if "@compiled" in Path(file).read_text(encoding="utf-8"):
        numba.config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"] = str(folder / "compiled")
    assert not any(name.split(".")[0] == "nemo_vtb" for name in sys.modules), "something of ours is imported already"
    exec(hook, {})
    resource.setrlimit(resource.RLIMIT_CPU, (_LIMIT, _LIMIT + 5))
    signal.alarm(20 * _LIMIT)
    begin = ["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'tests'}"]
    os._exit(_quietly(folder / "log", lambda: pytest.main([*begin, *tests_of(file)])))


def _verdict(status: int, folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    code, log = os.waitstatus_to_exitcode(status), (folder / "log").read_text(errors="replace")
    if code < 0:
        late = -code in (signal.SIGXCPU, signal.SIGALRM)
        return {"verdict": "out of time" if late else "killed", "by": signal.Signals(-code).name}
    if code:
        by = re.findall(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", log, re.MULTILINE)
        return {"verdict": "killed", "by": by[0] if by else log.strip()[-200:]}
    reason = _KNOWN["equivalent"].get(f"{about['file'].removeprefix('nemo_vtb/')}: {about['mutation']}")
    return {"verdict": "survived"} | ({"equivalent": reason} if reason else {})


def _quietly(log: Path, call: Any) -> int:
    sys.stdout.flush()
    with log.open("w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        code = int(call())
        sys.stdout.flush()
        sys.stderr.flush()
    return code


def _about(command: str, seed: int) -> dict[str, Any]:
    """What was measured with; of a process of its own, for here nothing of ours may be imported."""
    read = "from nemo_vtb.reports.environment import environment"
    program = f"import json, sys; {read}; print(json.dumps(environment(sys.argv[1], int(sys.argv[2]))))"
    return json.loads(subprocess.check_output([sys.executable, "-c", program, command, str(seed)], text=True))


if __name__ == "__main__":
    sys.exit(main())
