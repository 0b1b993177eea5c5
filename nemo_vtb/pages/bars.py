"""Bars with intervals, two sides of each."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nemo_vtb.pages.charts import STAND_IN, colour, svg_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Label, then the checkpoint's and the untouched LLM's value, low and high.
Bar = tuple[str, Mapping[str, Any], Mapping[str, Any]]
_INCHES_PER_BAR = 0.42
_BASE, _TUNED = (-0.2, 0.4, "untouched LLM"), (0.2, 1.0, "checkpoint")


def bar_chart(name: str, label: str, bars: Sequence[Bar], axis: str, kind: str, end: float, scale: float = 1.0) -> str:
    """Draws horizontal bars with 95 % intervals: the untouched LLM pale, the checkpoint full.

    Args:
        name: Makes the ids inside the SVG unique on the page.
        label: What a screen reader says.
        bars: From top to bottom; values that are missing or not finite are left out.
        axis: What the values are.
        kind: Whose colour the bars have.
        end: Where the axis ends; a longer bar is cut and its value written.
        scale: Factor from values to the axis.

    Raises:
        VTBError: If matplotlib is not installed.
    """

    def draw(axes: "Axes") -> None:
        sides = ((_BASE, [base for *_, base in bars]), (_TUNED, [tuned for _, tuned, _ in bars]))
        for (offset, alpha, legend), scores in sides:
            for row, score in enumerate(scores):
                value, low, high = (_scaled(score, key, scale) for key in ("value", "low", "high"))
                if value is None:
                    continue
                shown, place = min(value, end), row + offset
                axes.barh(place, shown, height=0.36, color=colour(kind), alpha=alpha)
                reach = min(high, end) if high is not None else shown
                if low is not None and low < end:
                    axes.plot([low, reach], [place, place], color=STAND_IN["--ink"], linewidth=0.9, zorder=3)
                beside = (max(shown, reach), place)
                axes.annotate(
                    f"{value:.3g}", beside, xytext=(3, 0), textcoords="offset points", va="center", fontsize=7.5
                )
            axes.barh(0, 0, color=colour(kind), alpha=alpha, label=legend)
        axes.set_yticks(range(len(bars)), [bar[0] for bar in bars])
        axes.tick_params(axis="y", length=0, labelcolor=STAND_IN["--ink"])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(0, end * 1.1)
        axes.set_xlabel(axis)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handlelength=1.3)

    return svg_of(name, label, draw, (4.4, 0.9 + _INCHES_PER_BAR * len(bars)))


def _scaled(score: Mapping[str, Any], key: str, scale: float) -> float | None:
    value = score.get(key)
    return scale * value if value is not None and math.isfinite(value) else None
