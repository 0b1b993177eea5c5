"""Every rank tells where it is; one that falls silent, or holds the others up, ends the job with its name.

Without it a stopped process, a dead node or a loader that never returns leaves the other ranks in a collective until
its timeout, half an hour by default, with no word of whom they wait for.
"""

import json
import os
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.distributed import TCPStore

from nemo_vtb.callbacks.control import control_store

EXIT_CODE = 75
_EVERY = 2.0
_FAILURE_KEY = "failure"
# In the order of a step: of ranks that stand still, the ones furthest back hold up the rest.
PHASES = ("start", "data", "step", "save", "validation", "end")
_LIMITED = ("data", "step")


@dataclass
class Position:
    """Where a rank is.

    Attributes:
        beat: Grows while the process lives.
        tick: Grows while its main thread moves on.
        step: Optimizer steps taken.
        phase: One of ``PHASES``.
        longest: Seconds its longest move took; of the first step, which may compile, a fifth.
    """

    beat: int = 0
    tick: int = 0
    step: int = 0
    phase: str = "start"
    longest: float = 0.0


class Heartbeat(Callback):
    """Watches the ranks of a run from threads of its own.

    Args:
        silent_after: Seconds without a sign of life after which a process counts as dead or stopped.
        stuck_after: Seconds in one place, waiting for data or inside a step, after which the rank furthest back counts
            as stuck; at least ten times the longest move seen and twice the first step, so that large models need no
            setting. Start-up, validation and saving are not limited.
    """

    def __init__(self, silent_after: float = 25.0, stuck_after: float = 40.0) -> None:
        self.silent_after, self.stuck_after = silent_after, stuck_after
        self._own = Position()
        self._moved = time.monotonic()
        self._done = threading.Event()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts to tell and, on rank 0, to watch."""
        if trainer.world_size == 1:
            return
        self._own, self._done = Position(step=trainer.global_step), threading.Event()
        watch = _Watch(self, control_store(trainer), trainer)
        watch.tell()
        trainer.strategy.barrier("heartbeat")
        self._moved = time.monotonic()
        for target in (watch.loop, watch.guard):
            threading.Thread(target=target, name="vtb-heartbeat", daemon=True).start()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Into the step."""
        self._move(trainer, "step" if self._own.tick else "start")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Waiting for data."""
        self._move(trainer, "data")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Saving, until the next move."""
        self._move(trainer, "save")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validating."""
        self._move(trainer, "validation")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Waiting for data again."""
        self._move(trainer, "data")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ends the watch: what follows training has no steps."""
        self._done.set()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Ends the watch."""
        self._done.set()

    def _move(self, trainer: Trainer, phase: str) -> None:
        now = time.monotonic()
        if self._own.phase in (*_LIMITED, "start"):
            weight = 0.2 if self._own.phase == "start" else 1.0
            self._own.longest = max(self._own.longest, weight * (now - self._moved))
        self._moved = now
        self._own.step, self._own.phase = trainer.global_step, phase
        self._own.tick += 1


class _Watch:
    """The threads' side: tells this rank's position and, on rank 0, reads everybody's."""

    def __init__(self, heartbeat: Heartbeat, store: TCPStore, trainer: Trainer) -> None:
        self._heartbeat, self._store = heartbeat, store
        self._rank, self._world_size = trainer.global_rank, trainer.world_size
        self._report = Path(trainer.default_root_dir) / "failure.txt"
        self._name = f"rank {self._rank} on {os.environ.get('SLURMD_NODENAME') or socket.gethostname()}"
        self._answered, self._lost = time.monotonic(), 0
        self._seen: dict[int, tuple[Position, float, float]] = {}

    def loop(self) -> None:
        """Tells and asks until training ends or somebody is missed."""
        while not self._heartbeat._done.wait(_EVERY):
            self._heartbeat._own.beat += 1
            try:
                self.tell()
                failure = self._watch() if self._rank == 0 else None
                if failure is not None:
                    self._store.set(_FAILURE_KEY, failure)
                elif self._store.check([_FAILURE_KEY]):
                    failure = self._store.get(_FAILURE_KEY).decode()
            except Exception:
                # Rank 0 is gone, and with it the store: by then the others have been told why, or it was killed.
                self._lost += 1
                failure = "rank 0 is gone" if self._lost > 1 else None
            else:
                self._answered, self._lost = time.monotonic(), 0
            if failure is not None:
                self._end(failure)

    def guard(self) -> None:
        """Ends this rank when the store stops answering: its calls wait for a stopped rank 0 without limit."""
        while not self._heartbeat._done.wait(_EVERY):
            silent = time.monotonic() - self._answered
            # Two beats more than rank 0 gives the others, so that it speaks first where it can.
            if silent > self._heartbeat.silent_after + 2 * _EVERY:
                self._end(f"rank 0 gave no sign of life for {silent:.0f} s")

    def tell(self) -> None:
        """Leaves this rank's position where rank 0 reads it."""
        self._store.set(f"rank_{self._rank}", json.dumps([self._name, asdict(self._heartbeat._own)]))

    def _watch(self) -> str | None:
        now = time.monotonic()
        names = {}
        for rank, told in enumerate(self._store.multi_get([f"rank_{rank}" for rank in range(self._world_size)])):
            names[rank], fields = json.loads(told)
            position = Position(**fields)
            before, beat_at, tick_at = self._seen.get(rank, (Position(beat=-1, tick=-1), now, now))
            self._seen[rank] = (
                position,
                now if position.beat != before.beat else beat_at,
                now if position.tick != before.tick else tick_at,
            )
        return find_missing(names, self._seen, now, self._heartbeat.silent_after, self._heartbeat.stuck_after)

    def _end(self, failure: str) -> None:
        if self._heartbeat._done.is_set():
            return
        if self._rank in (0, 1):
            print(f"nemo_vtb: {failure}; ending the job", file=sys.stderr, flush=True)
        if self._rank == 0 or not self._report.is_file():
            try:
                self._report.write_text(failure + "\n", encoding="utf-8")
            except OSError as error:
                print(f"nemo_vtb: cannot write {self._report}: {error}", file=sys.stderr, flush=True)
        if self._rank == 0:
            # The store ends with this process; the others read from it why.
            time.sleep(2 * _EVERY)
        # The main thread may never return from its collective, so no exception would reach it.
        os._exit(EXIT_CODE)


def find_missing(
    names: dict[int, str],
    seen: dict[int, tuple[Position, float, float]],
    now: float,
    silent_after: float,
    stuck_after: float,
) -> str | None:
    """Says which rank is silent or stuck.

    Args:
        names: Name of each rank.
        seen: Each rank's position, when its beat last grew, when its tick last grew.
        now: Time on the same clock.
        silent_after: Seconds without a beat.
        stuck_after: Seconds without a tick.

    Returns:
        A sentence, or None while all is well.
    """
    silent = [rank for rank, (_, beat_at, _) in seen.items() if now - beat_at > silent_after]
    if silent:
        position, beat_at, _ = seen[silent[0]]
        which = ", ".join(names[rank] for rank in silent)
        return (
            f"{which} gave no sign of life for {now - beat_at:.0f} s, last in step {position.step} ({position.phase})"
        )
    limit = max([stuck_after, *(10 * position.longest for position, _, _ in seen.values())])
    still = [
        rank for rank, (position, _, tick_at) in seen.items() if position.phase in _LIMITED and now - tick_at > limit
    ]
    if len(still) < len(seen) or not still:
        return None
    place = {rank: (seen[rank][0].step, PHASES.index(seen[rank][0].phase)) for rank in still}
    behind = [rank for rank in still if place[rank] == min(place.values())]
    position, _, tick_at = seen[behind[0]]
    which = "all ranks together" if len(behind) == len(still) else ", ".join(names[rank] for rank in behind)
    return f"{which} stood still for {now - tick_at:.0f} s in step {position.step} ({position.phase}), others wait"
