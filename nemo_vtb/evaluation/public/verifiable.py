"""IFEval and IFBench: instructions whose fulfilment code can see, by the verifiers of the packages that carry them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from nemo_vtb.errors import VTBError

_REGISTRIES = {
    "ifeval": ("lm_eval.tasks.ifeval.instructions_registry", "lm_eval[ifeval]"),
    "ifbench": ("if_verifiable.ifbench.instructions_registry", "if-verifiable"),
}


def follows_each(suite: str, reply: str, row: Mapping[str, Any], loose: bool) -> list[bool]:
    """Whether a reply follows each instruction of a row.

    Args:
        suite: ``ifeval`` or ``ifbench``.
        reply: What was said.
        row: ``prompt``, ``instruction_id_list`` and ``kwargs``, one for each instruction.
        loose: Whether the reply without its first line, its last line or asterisks may stand for it, as IFEval has it.

    Raises:
        VTBError: If the package is not installed, or has no such instruction.
    """
    versions = _versions(reply) if loose else [reply]
    return [
        any(_follows(suite, version, name, arguments, row["prompt"]) for version in versions if version.strip())
        for name, arguments in zip(row["instruction_id_list"], row["kwargs"], strict=True)
    ]


def marks(suite: str) -> Callable[[str, Mapping[str, Any]], Sequence[float]]:
    """Strict and loose by prompt, one prompt, strict and loose by instruction, how many instructions."""

    def mark(reply: str, row: Mapping[str, Any]) -> Sequence[float]:
        strict, loose = (follows_each(suite, reply, row, loose) for loose in (False, True))
        return (float(all(strict)), float(all(loose)), 1.0, float(sum(strict)), float(sum(loose)), float(len(strict)))

    return mark


def loose_marks(suite: str) -> Callable[[str, Mapping[str, Any]], Sequence[float]]:
    """Whether all instructions of a prompt are followed, loosely."""
    return lambda reply, row: (float(all(follows_each(suite, reply, row, loose=True))), 1.0)


def blank(row: Mapping[str, Any]) -> Sequence[float]:
    """Marks of an answer that follows nothing."""
    return (0.0, 0.0, 1.0, 0.0, 0.0, float(len(row["instruction_id_list"])))


def score(sums: np.ndarray) -> np.ndarray:
    """The mean of the four rates, from sums ``(..., 6)`` of ``marks``."""
    strict, loose, prompts, one_strict, one_loose, instructions = np.moveaxis(sums, -1, 0)
    return (strict / prompts + loose / prompts + one_strict / instructions + one_loose / instructions) / 4


@cache
def _registry(suite: str) -> Mapping[str, Any]:
    module, package = _REGISTRIES[suite]
    try:
        with _no_download():
            return import_module(module).INSTRUCTION_DICT
    except ImportError as error:
        raise VTBError(f"the verifiers of {suite} need {error.name}: pip install '{package}'") from error


@contextmanager
def _no_download() -> Iterator[None]:
    """Both packages fetch data of NLTK when they are imported; the few verifiers that want it say so when asked."""
    import nltk

    kept = nltk.download
    nltk.download = lambda *_, **__: False
    try:
        yield
    finally:
        nltk.download = kept


def _follows(suite: str, reply: str, name: str, arguments: Mapping[str, Any] | None, prompt: str) -> bool:
    known = _registry(suite)
    if name not in known:
        raise VTBError(f"the package with the verifiers of {suite} has no instruction '{name}'")
    instruction = known[name](name)
    # Tables have a column for every argument of any instruction, null where it has none.
    instruction.build_description(**{key: value for key, value in (arguments or {}).items() if value is not None})
    own = instruction.get_instruction_args()
    if own and "prompt" in own:
        instruction.build_description(prompt=prompt)
    try:
        return bool(instruction.check_following(reply))
    except LookupError as error:
        raise VTBError(
            f"the instruction '{name}' needs data of NLTK: python -m nltk.downloader punkt punkt_tab stopwords "
            "averaged_perceptron_tagger_eng"
        ) from error


def _versions(reply: str) -> list[str]:
    lines = reply.split("\n")
    cut = [reply, "\n".join(lines[1:]).strip(), "\n".join(lines[:-1]).strip(), "\n".join(lines[1:-1]).strip()]
    return [*cut, *(version.replace("*", "") for version in cut)]
