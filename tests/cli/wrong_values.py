"""Wrong values for every key of a config, and what a command made of each."""

import contextlib
import io
import os
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from nemo_vtb.cli import main
from nemo_vtb.config import compose

PATIENCE = 120
# By type of the value that stands there: values of other types first, then extreme ones of its own.
_WRONG: dict[type, tuple[list[str], list[str]]] = {
    bool: (["odd", "[]", "{a: 1}", "7"], ["null"]),
    int: (["odd", "[]", "{a: 1}", "true"], ["-7", "1000000000000", "null"]),
    float: (["odd", "[]", "{a: 1}", "true"], ["-7", "1000000000000", "nan", "null"]),
    str: (["[]", "{a: 1}", "true"], ["odd", "'no/such/../place'", "null", "''"]),
    list: (["5", "{a: 1}", "true"], ["[odd]", "[]", "null"]),
    type(None): ([], ["odd", "-7", "[]", "{a: 1}"]),
}


@dataclass(frozen=True)
class Wrong:
    """A wrong value: the arguments that give it, what a message must name, and whether its type is wrong for sure."""

    arguments: tuple[str, ...]
    named: str
    of_wrong_type: bool


def of_config(name: str, folder: str | None, overrides: Sequence[str] = (), within: str = "") -> list[Wrong]:
    """Wrong values for each leaf of a composed config, and an unknown key for each of its sections."""
    cfg = compose(name, overrides, folder)
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    return [wrong for path, value in _walk(plain) if path.startswith(within) for wrong in _of_key(path, value)]


def _walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _walk(item, f"{path}.{key}" if path else str(key))
        yield f"+{path}.odd_key" if path else "+odd_key", ...
    else:
        yield path, value


def _of_key(path: str, value: Any) -> Iterator[Wrong]:
    named = path.rpartition(".")[2].lstrip("+")
    if value is ...:
        yield Wrong((f"{path}=1",), named, True)
        return
    certain, possible = _WRONG[type(value)]
    if isinstance(value, str) and "${" in value:
        certain = []
    yield from (Wrong((f"{path}={text}",), named, True) for text in certain)
    yield from (Wrong((f"{path}={text}",), named, False) for text in possible)
    yield Wrong((f"{path}=${{no_such_key}}",), "no_such_key", True)


def sampled(wrongs: Sequence[Wrong], count: int, seed: int = 0) -> list[Wrong]:
    return random.Random(seed).sample(wrongs, min(count, len(wrongs)))


def outcome(arguments: Sequence[str], wrong: Wrong, taken: Callable[[Wrong], bool] = lambda wrong: False) -> str:
    """What is wrong with what a command makes of a value; empty where it is refused well or may be taken."""
    said, printed = io.StringIO(), io.StringIO()

    def late(*_: Any) -> None:
        raise TimeoutError("the command hangs")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
            code = main([*arguments, *wrong.arguments])
    except SystemExit as stop:
        code = stop.code
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    lines = [line for line in said.getvalue().splitlines() if line.startswith("vtb")]
    text = lines[-1] if lines else ""
    if "Traceback (most" in said.getvalue() + printed.getvalue() or "internal error" in text:
        return text[:300] or "a traceback"
    if code == 2:
        if len(lines) != 1:
            return f"{len(lines)} lines of error: {lines}"
        return "" if _names(text, wrong) else f"does not name {wrong.named}: {text[:300]}"
    if code not in (0, 1):
        return f"status {code}: {text[:200]}"
    return f"taken, status {code}" if wrong.of_wrong_type and not taken(wrong) else ""


def _names(text: str, wrong: Wrong) -> bool:
    """Whether a message names the key; or its section and the value, as those on files do."""
    key, _, value = wrong.arguments[0].partition("=")
    parent = key.rpartition(".")[0].rpartition(".")[2]
    if key.startswith("--") and value and value in text:
        return True
    return wrong.named in text or bool(parent and parent in text and value.strip("'") and value.strip("'") in text)


def failures(arguments: Sequence[str], wrongs: Sequence[Wrong], taken: Callable[[Wrong], bool]) -> list[str]:
    found = []
    here = os.getcwd()
    for wrong in wrongs:
        if said := outcome(arguments, wrong, taken):
            found.append(f"{' '.join(wrong.arguments)} -> {said}")
            print(found[-1])
        os.chdir(here)
    return found
