"""An epoch of a blend: once through its smallest covering.

Kinds end at different times: while one still has conversations that were never drawn, another may come round for the
third time. An epoch is the smallest number of batches, counted from the run's first, in which every conversation of
every source is drawn; all epochs of a run are that long. Nothing begins anew with an epoch: the walk goes on.
"""

from typing import Any

from nemo_vtb.data.blend.walk import Blend
from nemo_vtb.errors import VTBError


def batches_per_epoch(blend: Blend, budget: int, ranks: int = 1) -> int:
    """Walks until everything was drawn and counts the batches of a rank.

    Args:
        blend: The blend; its walk in training does not move.
        budget: LLM positions per rank and batch.
        ranks: Number of data-parallel ranks.

    Returns:
        A multiple of the batches of an optimizer step: an epoch does not end inside one.

    Raises:
        VTBError: If a kind's share falls to 0 before its last conversation is drawn.
    """
    state = blend.start()
    wanted = {kind: [len(source) for source in of_kind] for kind, of_kind in blend.sources.items()}
    while wanted:
        blend.step(state, budget, ranks)
        for kind in [kind for kind, rows in wanted.items() if all(map(_reached, state.drawn[kind], rows))]:
            del wanted[kind]
        optimizer_step = state.step // blend.batches_per_step
        if wanted and optimizer_step > blend.shares.settled_after:
            last = blend.shares.at(optimizer_step)
            if never := [kind for kind in wanted if last[kind] == 0]:
                raise VTBError(
                    f"an epoch of this blend has no end: the share of {never[0]} falls to 0 before its last "
                    "conversation is drawn; say with trainer.max_steps how long the run is, and count validation in "
                    "batches: trainer.val_check_interval=N, trainer.check_val_every_n_epoch=null"
                )
    return -(-state.step // blend.batches_per_step) * blend.batches_per_step


def counts_epochs(trainer: Any, validates: bool) -> bool:
    """Whether anything a trainer was asked for depends on how long an epoch of the data is.

    Args:
        trainer: Lightning's.
        validates: Whether there are data to validate on.
    """
    limit = trainer.limit_train_batches
    if isinstance(limit, int):
        # An epoch is that many batches, whatever the data.
        return False
    by_epochs = trainer.max_epochs not in (None, -1) or bool(trainer.min_epochs)
    validates = validates and trainer.limit_val_batches != 0 and not isinstance(trainer.val_check_interval, int)
    return by_epochs or validates or limit != 1.0


def _reached(drawn: int, rows: int) -> bool:
    return drawn >= rows
