"""How many frames a clip becomes, known without running the encoder.

Framing, strided convolutions and stacking each take a length ``n`` to ``(n + a) // b``, and so does any chain of them:
two whole numbers say it all, and are measured on the encoder itself.
"""

from collections.abc import Callable
from dataclasses import dataclass

_PROBES = (1, 400, 1599, 1601, 4801, 12345, 16000, 31999, 40007)
_MOST_STEP = 1 << 15


@dataclass(frozen=True)
class FrameRule:
    """Frames of a clip.

    Attributes:
        step: Samples from one frame to the next.
        offset: Added to the length of a clip before it is divided by ``step``.
        least: Frames of the shortest clip.
        most_samples: Longer clips are encoded in pieces.
        equal: Whether those are of one length; else each has ``most_samples`` and the last what is left.
        least_piece: Samples below which a last piece belongs to the one before it; of pieces that are not equal.
    """

    step: int
    offset: int
    least: int
    most_samples: int
    equal: bool = True
    least_piece: int = 0

    def frames(self, samples: int) -> int:
        """Frames of a clip of so many samples, in pieces where it is long."""
        return sum(max(self.least, (piece + self.offset) // self.step) for piece in self._pieces(samples))

    def _pieces(self, samples: int) -> list[int]:
        if samples <= self.most_samples:
            return [samples]
        if self.equal:
            number = -(-samples // self.most_samples)
            length, longer = divmod(samples, number)
            return [length + 1] * longer + [length] * (number - longer)
        whole, rest = divmod(samples, self.most_samples)
        pieces = [self.most_samples] * whole + ([rest] if rest else [])
        if pieces[-1] < self.least_piece:
            pieces[-2:] = [pieces[-2] + pieces[-1]]
        return pieces


def measured_rule(
    count: Callable[[int], int], most_samples: int, equal: bool = True, least_piece: int = 0
) -> FrameRule | None:
    """Finds the rule of an encoder.

    Args:
        count: Frames of a clip of so many samples, below ``most_samples``.
        most_samples: See ``FrameRule``.
        equal: Likewise.
        least_piece: Likewise.

    Returns:
        The rule; None where the encoder follows none.
    """
    known = count(8000)
    first = _first_with(count, known + 1, 8000)
    second = _first_with(count, known + 2, first)
    step = second - first
    rule = FrameRule(step, (known + 1) * step - first, count(1), most_samples, equal, least_piece)
    lengths = [samples for samples in (*_PROBES, first - 1, first) if samples <= most_samples]
    return rule if all(rule.frames(samples) == count(samples) for samples in lengths) else None


def _first_with(count: Callable[[int], int], frames: int, below: int) -> int:
    """The shortest clip with so many frames, which one of ``below`` samples has not."""
    above = below + 1
    while count(above) < frames and above - below < _MOST_STEP:
        above += above - below
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (below, middle) if count(middle) >= frames else (middle, above)
    return above
