"""Calls a function in a process of its own: what it leaves in memory concerns nobody else."""

from collections.abc import Callable
from multiprocessing import get_context
from typing import Any


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Forks, calls, and returns what was returned."""
    context = get_context("fork")
    results = context.SimpleQueue()
    process = context.Process(target=lambda: results.put(function(*arguments)))
    process.start()
    found = results.get()
    process.join()
    return found
