"""The start of a command, which is mostly imports: less is imported, and nobody looks for garbage meanwhile."""

import gc

from nemo_vtb.start.deferred import defer

# New containers between two looks; importing all of NeMo makes two millions, and nearly all of them stay.
_BETWEEN_LOOKS = 100_000
_usual = gc.get_threshold()


def begin() -> None:
    """Makes what follows start faster; for our own commands, before anything heavy is imported."""
    defer()
    gc.set_threshold(_BETWEEN_LOOKS, *_usual[1:])


def begun() -> None:
    """Ends the start: the model is there, and from now on garbage may hold tensors."""
    gc.set_threshold(*_usual)
