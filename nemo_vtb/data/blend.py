"""Which conversation comes next: a deterministic walk that keeps every kind at its share.

The walk always takes the kind that is furthest behind its share, then the source furthest behind inside that kind, then
the next row of that source's permutation for the epoch. All of it follows from a seed and a few counters, so a state is
a handful of numbers, the same on every rank, and a resumed walk goes on exactly where it stopped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from nemo_vtb.data.prompt_pool import stable_hash
from nemo_vtb.data.sources import ConversationSource
from nemo_vtb.errors import VTBError

UNITS = ("supervised_tokens", "total_tokens", "examples", "steps")
STRATEGIES = ("stratified", "alternate")


@dataclass(frozen=True)
class DrawnRow:
    """One conversation of the walk: kind, source number, row and epoch."""

    kind: str
    source: int
    index: int
    epoch: int


@dataclass(frozen=True)
class Measure:
    """What a conversation weighs: LLM positions in all, and supervised ones."""

    total: int
    supervised: int


@dataclass
class BlendState:
    """Where the walk is.

    Attributes:
        step: Steps taken.
        drawn: Conversations taken per kind and source.
        got: Units taken per kind, from which the next kind follows.
    """

    step: int = 0
    drawn: dict[str, list[int]] = field(default_factory=dict)
    got: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values for a checkpoint."""
        return asdict(self)


class Blend:
    """Sources by kind, and the order in which they are drawn.

    Args:
        sources: ``{kind: sources}``.
        shares: ``{kind: share}``; they are normalised.
        measure: Weighs a drawn row.
        unit: What a share is a share of.
        strategy: ``stratified`` holds the shares inside every batch; ``alternate`` gives each step to one kind.
        seed: Seeds the permutations.

    Raises:
        VTBError: On an unknown unit or strategy, or shares that do not fit the kinds.
    """

    def __init__(
        self,
        sources: Mapping[str, Sequence[ConversationSource]],
        shares: Mapping[str, float],
        measure: Callable[[DrawnRow], Measure],
        unit: str = "supervised_tokens",
        strategy: str = "stratified",
        seed: int = 0,
    ) -> None:
        if unit not in UNITS:
            raise VTBError(f"blend.unit must be one of {', '.join(UNITS)}, not '{unit}'")
        if strategy not in STRATEGIES:
            raise VTBError(f"blend.strategy must be one of {', '.join(STRATEGIES)}, not '{strategy}'")
        if unit == "steps" and strategy != "alternate":
            raise VTBError("blend.unit=steps needs blend.strategy=alternate: only there does a step have one kind")
        if set(shares) != set(sources) or not all(share > 0 for share in shares.values()):
            raise VTBError(
                f"every kind needs a share above 0 and a source; shares {dict(shares)}, kinds {list(sources)}"
            )
        total = sum(shares.values())
        self.sources = {kind: list(of_kind) for kind, of_kind in sources.items()}
        self.shares = {kind: share / total for kind, share in shares.items()}
        self.unit, self.strategy, self.seed = unit, strategy, seed
        self._measure = measure
        self._permutations: dict[tuple[str, int, int], list[int]] = {}

    def start(self) -> BlendState:
        """Returns the state before the first step."""
        return BlendState(
            drawn={kind: [0] * len(of_kind) for kind, of_kind in self.sources.items()},
            got=dict.fromkeys(self.sources, 0.0),
        )

    def step(self, state: BlendState, budget: int, ranks: int = 1) -> list[list[DrawnRow]]:
        """Takes one step and moves ``state`` on.

        Args:
            state: Where the walk is; changed in place.
            budget: LLM positions per rank; a batch holds at least one conversation and otherwise stays within.
            ranks: Batches to make. Every rank walks all of them and keeps its own.

        Returns:
            One list of rows per rank.
        """
        only = self._most_behind(state) if self.strategy == "alternate" else None
        batches = []
        for _ in range(ranks):
            batch: list[DrawnRow] = []
            used = 0
            while True:
                kind = only or self._most_behind(state)
                row = self._peek(kind, state)
                measure = self._measure(row)
                if batch and used + measure.total > budget:
                    break
                used += measure.total
                batch.append(row)
                state.drawn[kind][row.source] += 1
                state.got[kind] += self._units(measure)
            batches.append(batch)
        if only is not None and self.unit == "steps":
            state.got[only] += 1
        state.step += 1
        return batches

    def fetch(self, row: DrawnRow) -> Any:
        """Returns the conversation of a drawn row."""
        return self.sources[row.kind][row.source].draw(row.index, row.epoch)

    def _units(self, measure: Measure) -> float:
        return {"supervised_tokens": measure.supervised, "total_tokens": measure.total, "examples": 1, "steps": 0}[
            self.unit
        ]

    def _most_behind(self, state: BlendState) -> str:
        total = sum(state.got.values()) + 1.0
        return max(self.shares, key=lambda kind: self.shares[kind] * total - state.got[kind])

    def _peek(self, kind: str, state: BlendState) -> DrawnRow:
        of_kind, drawn = self.sources[kind], state.drawn[kind]
        source = min(range(len(of_kind)), key=lambda s: (drawn[s] + 0.5) / of_kind[s].weight)
        epoch, position = divmod(drawn[source], len(of_kind[source]))
        return DrawnRow(kind, source, self._permutation(kind, source, epoch)[position], epoch)

    def _permutation(self, kind: str, source: int, epoch: int) -> list[int]:
        key = (kind, source, epoch)
        if key not in self._permutations:
            order = list(range(len(self.sources[kind][source])))
            Random(stable_hash(self.seed, *key)).shuffle(order)
            self._permutations = {k: v for k, v in self._permutations.items() if k[:2] != key[:2]}
            self._permutations[key] = order
        return self._permutations[key]
