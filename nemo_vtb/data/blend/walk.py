"""Which conversation comes next: a deterministic walk that keeps every kind at its share.

Each kind is owed its share of what is drawn; the walk takes the kind that is owed most, then the source furthest behind
inside that kind, then the next row of that source's shuffle for the epoch. All of it follows from a seed and a few
counters, so a state is a handful of numbers, the same on every rank, and a resumed walk goes on where it stopped.

Every rank walks the batches of all ranks and keeps its own: ranks agree without talking to each other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nemo_vtb.data.blend.cursor import Cursor, Queue, Source
from nemo_vtb.data.blend.shares import Shares
from nemo_vtb.data.conversations.prompt_pool import stable_hash
from nemo_vtb.data.conversations.size import Size
from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from nemo_vtb.data.blend.fill import Counts

# Conversations drawn between two looks at what was drawn.
_ROOM = 4096
# As ``fill`` writes them: ``taken`` and ``sizes``.
_Draws = list[tuple[np.ndarray, np.ndarray]]
UNITS = ("supervised_tokens", "total_tokens", "examples", "steps")
STRATEGIES = ("stratified", "mixed", "alternate")


class DrawnRow(NamedTuple):
    """One conversation of the walk: kind, source number, row and epoch; its lengths as the index knows them."""

    kind: str
    source: int
    row: int
    epoch: int
    size: Size


@dataclass
class BlendState:
    """Where the walk is.

    Attributes:
        step: Batches taken per rank.
        drawn: Conversations taken per kind and source, on all ranks.
        amounts: Supervised tokens, LLM positions and seconds of audio in them.
        owed: Units each kind is behind its share among the kinds it takes turns with; they add up to 0.
        owed_turns: With ``alternate``, steps or units by which those whose turn it can be are behind.
    """

    step: int = 0
    drawn: dict[str, list[int]] = field(default_factory=dict)
    amounts: dict[str, list[list[float]]] = field(default_factory=dict)
    owed: dict[str, float] = field(default_factory=dict)
    owed_turns: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for a checkpoint."""
        return asdict(self)


class Blend:
    """Sources by kind, and the order in which they are drawn.

    Args:
        sources: ``{kind: sources}``.
        shares: ``{kind: share}``, a share being a number or ``{optimizer step: number}``; they are normalised.
        unit: What a share is a share of. ``steps`` goes with ``alternate`` only.
        strategy: ``stratified`` holds the shares inside every batch; ``mixed`` draws kinds at random and holds the
            shares over several batches; ``alternate`` gives each step, on all ranks, to one kind.
        seed: Seeds the shuffles and the random draws.
        together: With ``alternate``, kinds that share their steps, as those with speech do in the paper; within such a
            step the unit ``steps`` shares out examples.
        batches_per_step: Batches of one optimizer step: gradient accumulation.

    Attributes:
        turns: ``{kind: turn}``; with ``alternate``, kinds of one turn share their steps.
        batches_per_step: As given.

    Raises:
        VTBError: On an unknown unit, strategy or kind, or shares that do not fit the kinds.
    """

    def __init__(
        self,
        sources: Mapping[str, Sequence[Source]],
        shares: Mapping[str, Any],
        unit: str = "supervised_tokens",
        strategy: str = "stratified",
        seed: int = 0,
        together: Iterable[str] = (),
        batches_per_step: int = 1,
    ) -> None:
        together = list(together)
        _check(unit, strategy, sources, shares, together)
        self.sources = {kind: list(of_kind) for kind, of_kind in sources.items()}
        self.shares = Shares(shares)
        self.unit, self.strategy, self.seed, self.batches_per_step = unit, strategy, seed, batches_per_step
        self.turns = {kind: "+".join(together) if kind in together else kind for kind in sources}
        self._unit = {"supervised_tokens": 0, "total_tokens": 1}.get(unit, -1)
        cursors = {
            kind: [Cursor(source, stable_hash(seed, kind, number)) for number, source in enumerate(of_kind)]
            for kind, of_kind in self.sources.items()
        }
        self._means = {kind: self._mean(kind, of_kind) for kind, of_kind in cursors.items()}
        self._mean_units = np.array([mean.units for mean in self._means.values()])
        self._queue = Queue(cursors)

    def start(self) -> BlendState:
        """Returns the state before the first step."""
        return BlendState(
            drawn={kind: [0] * len(of_kind) for kind, of_kind in self.sources.items()},
            amounts={kind: [[0, 0, 0.0] for _ in of_kind] for kind, of_kind in self.sources.items()},
            owed=dict.fromkeys(self.sources, 0.0),
            owed_turns=dict.fromkeys(self.turns.values(), 0.0) if self.strategy == "alternate" else {},
        )

    def step(self, state: BlendState, budget: int, ranks: int = 1) -> list[list[DrawnRow]]:
        """Takes one step and moves ``state`` on.

        Args:
            state: Where the walk is; changed in place.
            budget: LLM positions per rank. A batch holds at least one conversation and otherwise stays within; it is
                filled up with whatever is due and still fits, so that ranks get equal work.
            ranks: Batches to make.

        Returns:
            One list of rows per rank.
        """
        batches: list[list[DrawnRow]] = [[] for _ in range(ranks)]
        for rank, row in self._drawn(self._step(state, budget, ranks)):
            batches[rank].append(row)
        return batches

    def own_batch(self, state: BlendState, budget: int, ranks: int, rank: int) -> list[DrawnRow]:
        """Takes one step as ``step`` does and returns one rank's rows; those of the others are only counted."""
        return [row for _, row in self._drawn(self._step(state, budget, ranks), rank)]

    def next_row(self, state: BlendState) -> DrawnRow:
        """Draws a single conversation and moves ``state`` on."""
        shares = self.shares.at(state.step // self.batches_per_step)
        state.step += 1
        ((_, row),) = self._drawn(self._fill(state, shares, 1.0, 0, 1, single=True))
        return row

    def shares_at(self, state: BlendState) -> dict[str, float]:
        """Returns every kind's share of the step that was taken last; they add up to 1."""
        return self.shares.at(max(0, state.step - 1) // self.batches_per_step)

    def fetch(self, row: DrawnRow) -> Any:
        """Returns the conversation of a drawn row.

        Raises:
            BadRow: If it cannot be used any longer.
        """
        return self.sources[row.kind][row.source].draw(row.row, row.epoch)

    def _step(self, state: BlendState, budget: int, ranks: int) -> "_Draws":
        shares = self.shares.at(state.step // self.batches_per_step)
        state.step += 1
        if self.strategy != "alternate":
            return self._fill(state, shares, self._worth(shares, budget), budget, ranks)
        turn, turns = self._turn(state, shares)
        total = sum(share for kind, share in shares.items() if self.turns[kind] == turn)
        within = {kind: share / total for kind, share in shares.items() if self.turns[kind] == turn}
        draws = self._fill(state, within, self._worth(within, budget), budget, ranks)
        taken = 1.0
        if self.unit != "steps":
            taken = float(sum(len(rows) if self._unit < 0 else sizes[:, 1 - self._unit].sum() for rows, sizes in draws))
        _settle(state.owed_turns, turns, turn, taken)
        return draws

    def _worth(self, shares: dict[str, float], budget: int) -> float:
        """Units in one batch; no kind runs further ahead of its share than that to fill a gap."""
        return budget / sum(share * self._means[kind].total / self._means[kind].units for kind, share in shares.items())

    def _fill(
        self, state: BlendState, shares: dict[str, float], worth: float, budget: int, batches: int, single: bool = False
    ) -> "_Draws":
        """Fills batches and moves ``state`` on."""
        from nemo_vtb.data.blend.fill import DONE, FULL, Counts, Rule, fill

        counts = Counts(
            np.array([drawn for kind in self.sources for drawn in state.drawn[kind]], dtype=np.int64),
            np.array([amounts for kind in self.sources for amounts in state.amounts[kind]], dtype=np.float64),
            np.array([state.owed[kind] for kind in self.sources], dtype=np.float64),
            self._unit,
        )
        share = np.array([shares.get(kind, -1.0) for kind in self.sources], dtype=np.float64)
        rule = Rule(share, self._mean_units, worth, budget, batches, single)
        at = np.array([0, budget, 0, 0], dtype=np.int64)
        self._queue.turn_to(counts.drawn)
        draws: _Draws = []
        stopped = FULL
        while stopped != DONE:
            if stopped == FULL:
                at[3] = 0
                chance = self._chance(int(counts.drawn.sum()))
                draws.append((np.empty((_ROOM, 4), dtype=np.int64), np.empty((_ROOM, 3), dtype=np.float64)))
            else:
                self._queue.load(stopped, int(counts.drawn[stopped]))
            stopped = fill(self._queue.heads, counts, rule, chance, at, *draws[-1])
        draws[-1] = (draws[-1][0][: at[3]], draws[-1][1][: at[3]])
        self._put_back(state, counts)
        return draws

    def _chance(self, number: int) -> np.ndarray:
        """What decides the draws from ``number`` on; empty where nothing is left to chance."""
        if self.strategy != "mixed":
            return np.empty(0)
        from nemo_vtb.data.blend.chance import chances

        return chances(stable_hash(self.seed, "chance"), number, _ROOM)

    def _put_back(self, state: BlendState, counts: "Counts") -> None:
        place = 0
        for number, kind in enumerate(self.sources):
            end = place + len(state.drawn[kind])
            state.drawn[kind] = counts.drawn[place:end].tolist()
            state.amounts[kind] = [[int(a), int(b), c] for a, b, c in counts.amounts[place:end].tolist()]
            state.owed[kind] = float(counts.owed[number])
            place = end

    def _drawn(self, draws: "_Draws", rank: int | None = None) -> Iterator[tuple[int, DrawnRow]]:
        """What was drawn, of all ranks or of one, each with its rank."""
        for rows, sizes in draws:
            own = np.flatnonzero(rows[:, 0] == rank) if rank is not None else slice(None)
            for (batch, source, row, epoch), (total, supervised, seconds) in zip(
                rows[own].tolist(), sizes[own].tolist(), strict=True
            ):
                kind, number = self._queue.names[source]
                yield batch, DrawnRow(kind, number, row, epoch, Size(int(total), int(supervised), seconds))

    def _turn(self, state: BlendState, shares: dict[str, float]) -> tuple[str, dict[str, float]]:
        """Whose turn it is, and the shares of all who take turns."""
        turns = dict.fromkeys(self.turns.values(), 0.0)
        for kind, share in shares.items():
            turns[self.turns[kind]] += share
        due = {turn: state.owed_turns[turn] + share for turn, share in turns.items() if share > 0}
        return max(due, key=due.__getitem__), turns

    def _mean(self, kind: str, cursors: Sequence[Cursor]) -> "_Mean":
        of_kind = self.sources[kind]
        weights = np.array([source.weight for source in of_kind]) / sum(source.weight for source in of_kind)
        totals = [cursor.sample() for cursor in cursors]
        total, supervised, _ = (float(value) for value in weights @ np.array(totals))
        units = {"supervised_tokens": supervised, "total_tokens": total}.get(self.unit, 1.0)
        return _Mean(max(total, 1.0), max(units, 1e-3))


class _Mean(NamedTuple):
    """Mean length of a kind's conversations, in LLM positions and in the blend's unit."""

    total: float
    units: float


def _settle(owed: dict[str, float], shares: Mapping[str, float], taker: str, units: float) -> None:
    """Everyone is owed their share of what the taker got."""
    for name, share in shares.items():
        owed[name] += share * units
    owed[taker] -= units


def _check(
    unit: str, strategy: str, sources: Mapping[str, Any], shares: Mapping[str, Any], together: list[str]
) -> None:
    if unit not in UNITS:
        raise VTBError(f"blend.unit must be one of {', '.join(UNITS)}, not '{unit}'")
    if strategy not in STRATEGIES:
        raise VTBError(f"blend.strategy must be one of {', '.join(STRATEGIES)}, not '{strategy}'")
    if unit == "steps" and strategy != "alternate":
        raise VTBError("blend.unit=steps needs blend.strategy=alternate: only there a step belongs to somebody")
    if together and strategy != "alternate":
        raise VTBError("blend.together needs blend.strategy=alternate: otherwise all kinds share their steps anyway")
    if unknown := set(together) - set(sources):
        raise VTBError(f"blend.together names {', '.join(sorted(unknown))}; the kinds are {', '.join(sources)}")
    if set(shares) != set(sources) or not sources:
        raise VTBError(f"every kind needs a share and a source; shares {list(shares)}, kinds {list(sources)}")
