"""The one exception a user is meant to read."""

from collections.abc import Iterator
from contextlib import contextmanager


class VTBError(Exception):
    """Something the user can mend; the message names the file and line, key or sample, and the remedy.

    The command line prints the message without a traceback.

    Attributes:
        typed: Whether what was typed is at fault: the same again would end the same, on any machine at any time.
    """

    typed = False


@contextmanager
def about_what_was_typed() -> Iterator[None]:
    """Marks what a block, or a function that it decorates, raises; for configs that are looked at, and nothing else."""
    try:
        yield
    except VTBError as error:
        error.typed = True
        raise
