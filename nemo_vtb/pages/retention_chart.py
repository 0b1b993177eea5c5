"""The curve of what training costs the LLM's text, beside the curves of what it brings to speech."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nemo_vtb.pages.charts import STAND_IN, colour, svg_of
from nemo_vtb.reports.figures import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DROP, _KL = "val_text_drop", "val_text_kl"


def retention_chart(name: str, label: str, validation: Sequence[Mapping[str, Any]]) -> str:
    """Draws the points lost against the untouched LLM and, on an axis of its own, the divergence from it, over steps.

    Args:
        name: Makes the ids inside the SVG unique on the page.
        label: What a screen reader says.
        validation: Rows with ``step`` and what ``RetentionGate`` logs; empty text where none has it.

    Raises:
        VTBError: If matplotlib is not installed.
    """
    drops, divergences = (_finite(validation, key) for key in (_DROP, _KL))
    if not drops:
        return ""

    def draw(axes: "Axes") -> None:
        steps, lost = zip(*drops, strict=True)
        points = tuple(100 * drop for drop in lost)
        axes.plot(steps, points, color=colour("text"), marker="o", markersize=3.5, linewidth=1.6, label="points lost")
        axes.set_ylim(min(0.0, *points), max(10.0, *points) * 1.1)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("points lost against the untouched LLM")
        handles = list(axes.lines)
        if divergences:
            right = axes.twinx()
            right.patch.set_visible(False)
            right.grid(visible=False)
            steps, nats = zip(*divergences, strict=True)
            style: dict[str, Any] = {"color": STAND_IN["--quiet"], "linestyle": "--", "linewidth": 1.2}
            handles += right.plot(steps, nats, label="KL to the untouched LLM (right)", **style)
            right.set_ylim(0, max(0.1, *nats) * 1.1)
            right.set_ylabel("KL (nats per token)")
        axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handlelength=1.6)

    return svg_of(name, label, draw)


def _finite(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    found = ((number(row, "step"), number(row, key)) for row in rows)
    return [(step, value) for step, value in found if step is not None and value is not None and math.isfinite(value)]
