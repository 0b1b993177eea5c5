"""Shares of kinds that may change while training goes on."""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from nemo_vtb.errors import VTBError


class Shares:
    """Shares by optimizer step, straight lines between the points given, normalised at every step.

    Args:
        shares: ``{kind: share}``, a share being a number or ``{step: number}``. Before the first point and behind the
            last one it stays as it is there.

    Raises:
        VTBError: If a share is no number or below 0, or no kind has one above 0 somewhere.
    """

    def __init__(self, shares: Mapping[str, Any]) -> None:
        self._points = {kind: _points(kind, share) for kind, share in shares.items()}
        self._turns = sorted({step for points in self._points.values() for step, _ in points})
        for step in self._turns:
            if not sum(self._raw(step).values()) > 0:
                raise VTBError(f"blend: at step {step} no kind has a share above 0")
        for kind, points in self._points.items():
            if not any(value > 0 for _, value in points):
                raise VTBError(f"blend.kinds.{kind}.share is never above 0; leave the kind out instead")
        self._last = self._normalised(self._turns[-1])

    @property
    def settled_after(self) -> int:
        """The optimizer step from which on no share changes any more."""
        return self._turns[-1]

    def at(self, step: int) -> dict[str, float]:
        """Returns every kind's share at an optimizer step; they add up to 1."""
        return self._last if step >= self._turns[-1] else self._normalised(step)

    def _normalised(self, step: int) -> dict[str, float]:
        raw = self._raw(step)
        total = sum(raw.values())
        return {kind: share / total for kind, share in raw.items()}

    def _raw(self, step: int) -> dict[str, float]:
        return {kind: _between(points, step) for kind, points in self._points.items()}


def _points(kind: str, share: Any) -> list[tuple[int, float]]:
    try:
        points = (
            sorted((int(k), float(v)) for k, v in share.items()) if isinstance(share, Mapping) else [(0, float(share))]
        )
    except (TypeError, ValueError) as error:
        raise VTBError(f"blend.kinds.{kind}.share must be a number or {{step: number}}, not {share}") from error
    if not points or any(not 0 <= value < float("inf") or step < 0 for step, value in points):
        raise VTBError(f"blend.kinds.{kind}.share must hold numbers and steps of at least 0, not {share}")
    return points


def _between(points: list[tuple[int, float]], step: int) -> float:
    after = bisect_right(points, (step, float("inf")))
    if after == 0:
        return points[0][1]
    if after == len(points):
        return points[-1][1]
    (start, low), (end, high) = points[after - 1], points[after]
    return low + (high - low) * (step - start) / (end - start)
