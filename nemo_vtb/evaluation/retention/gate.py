"""The retention gate: how much text may be lost against the untouched LLM."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nemo_vtb.errors import VTBError

# Drops that are equal to the limit on paper, such as 9 / 60 - 6 / 60 and 5 points.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class GateResult:
    """A verdict.

    Attributes:
        max_text_drop: Points of 100 that a suite may lose.
        suites: As ``check`` got them.
    """

    max_text_drop: float
    suites: Mapping[str, Mapping[str, Any]]

    @property
    def worst(self) -> str:
        """The suite that lost most."""
        return max(self.suites, key=lambda name: self.suites[name]["drop"])

    @property
    def drop(self) -> float:
        """What it lost, a fraction; below 0 where even that one has won."""
        return float(self.suites[self.worst]["drop"])

    @property
    def passed(self) -> bool:
        """Whether no suite lost more than it may."""
        return self._passes(self.drop)

    @property
    def message(self) -> str:
        """The verdict in a sentence, without a full stop."""
        suite = self.suites[self.worst]
        shown = f"{100 * suite['base']:.1f} of the untouched LLM, {100 * suite['tuned']:.1f} now, n={suite['n']}"
        if suite.get("low") is not None and suite.get("high") is not None:
            shown += f", 95 % interval of the drop {100 * suite['low']:.1f} to {100 * suite['high']:.1f}"
        limit = f"max_text_drop={self.max_text_drop:g} allows"
        amount = f"text suite '{self.worst}' lost {100 * self.drop:.1f} points"
        if self.passed:
            return f"{amount}, which {limit} ({shown})"
        return f"{amount}, more than {limit} ({shown})"

    def to_dict(self) -> dict[str, Any]:
        """``passed``, ``max_text_drop_points``, ``worst``, ``drop``, ``suites`` with a count of what was lost."""
        return {
            "passed": self.passed,
            "max_text_drop_points": self.max_text_drop,
            "worst": self.worst,
            "drop": self.drop,
            "suites": {
                name: {**suite, "lost": len(suite["lost"]), "passed": self._passes(suite["drop"])}
                for name, suite in self.suites.items()
            },
        }

    def _passes(self, drop: float) -> bool:
        return 100 * drop <= self.max_text_drop + _ROUNDING


def check(suites: Mapping[str, Mapping[str, Any]], max_text_drop: float) -> GateResult:
    """Judges whether too much text was lost: the worst suite decides, by its score and not by its interval.

    Args:
        suites: ``{name: {"tuned", "base", "drop", "n", "low", "high", "lost"}}``. Scores are fractions, ``drop`` is
            the untouched LLM's less the tuned one's, ``low`` and ``high`` are the ends of its interval or None, and
            ``lost`` lists what only the untouched LLM got right: ``{"id", "prompt", "base", "tuned"}``.
        max_text_drop: Points of 100 a suite may lose.

    Raises:
        VTBError: If nothing was measured, or the limit is no number of at least 0.
    """
    if isinstance(max_text_drop, bool) or not isinstance(max_text_drop, int | float) or not max_text_drop >= 0:
        raise VTBError(f"max_text_drop is {max_text_drop!r}; it is a number of points of at least 0")
    if not suites:
        raise VTBError("max_text_drop has nothing to judge: name a text suite whose replies are checked")
    for name, suite in suites.items():
        if not suite["n"] or not math.isfinite(suite["drop"]):
            raise VTBError(f"text suite '{name}' was not measured: it has {suite['n']} items")
    return GateResult(float(max_text_drop), dict(suites))
