"""The charts of the pages: losses, shares, lengths, scores, and what became of the text.

Each takes the label of ``svg_of`` and raises its error where matplotlib is missing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nemo_vtb.data.conversations.kinds import KINDS
from nemo_vtb.pages.svg import STAND_IN, colour, legend_above, second_axis, svg_of
from nemo_vtb.reports.figures import number, percent

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

Curve = tuple[list[float], list[float]]

_MARKERS = dict(zip(KINDS, "os^Dv", strict=True))
_INCHES_PER_BAR = 0.42
_PALE = 0.4


class Bar(NamedTuple):
    """Two scores in the colour of a kind: ``value``, with ``low`` and ``high`` where there is an interval."""

    label: str
    kind: str
    pale: Mapping[str, Any]
    full: Mapping[str, Any]


def curves(rows: Sequence[Mapping[str, Any]], prefix: str) -> dict[str, Curve]:
    """Collects ``{kind: (steps, values)}`` of the columns named ``<prefix><kind>``; values that are not finite are out.

    The kinds come in the order of ``KINDS``, then others by name.
    """
    found: dict[str, Curve] = {}
    for row in rows:
        step = number(row, "step")
        for key in row:
            value = number(row, key)
            if key.startswith(prefix) and step is not None and value is not None and math.isfinite(value):
                steps, values = found.setdefault(key.removeprefix(prefix), ([], []))
                steps.append(step)
                values.append(value)
    return {kind: found[kind] for kind in in_order(found)}


def smooth(values: Sequence[float]) -> list[float]:
    """Returns the centred moving average over a fifteenth of the values; at the ends over those there are."""
    reach = len(values) // 30
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def in_order(kinds: Mapping[str, Any]) -> list[str]:
    """The kinds in the order of ``KINDS``, then others by name."""
    return [kind for kind in KINDS if kind in kinds] + sorted(set(kinds) - set(KINDS))


def loss_chart(label: str, series: Mapping[str, Curve], raw: bool) -> "Markup":
    """Draws losses over steps, one colour per kind.

    Args:
        label: As in ``svg_of``.
        series: ``{kind: (steps, losses in nats per token)}``.
        raw: Draw the values thin behind their moving average, rather than joined by markers.
    """

    def draw(axes: "Axes") -> None:
        lines = {kind: smooth(values) if raw else values for kind, (_, values) in series.items()}
        for kind, (steps, values) in series.items():
            marks: dict[str, Any] = {} if raw else {"marker": _MARKERS.get(kind, "x"), "markersize": 3.5}
            style: dict[str, Any] = {
                "color": colour(kind),
                "linewidth": 1.6,
                "linestyle": "-" if kind in KINDS else "--",
            }
            axes.plot(steps, lines[kind], label=kind, zorder=3, **style, **marks)
            if raw:
                axes.plot(steps, values, color=colour(kind), linewidth=0.6, alpha=0.3)
        # Single spikes of the raw loss, and losses of no kind, may leave the picture: they would flatten all others.
        whole = [kind for kind in lines if kind in KINDS] or list(lines)
        axes.set_ylim(0, max(max(lines[kind]) for kind in whole) * 1.1 or 1)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss (nats per supervised token)")
        legend_above(axes, len(series))

    return svg_of(label, draw)


def retention_chart(label: str, validation: Sequence[Mapping[str, Any]]) -> "Markup | None":
    """Draws the points lost against the untouched LLM and, on an axis of its own, the divergence from it, over steps.

    Args:
        label: As in ``svg_of``.
        validation: Rows with ``step`` and what ``RetentionGate`` logs; without it there is no chart.

    """
    found = curves(validation, "val_text_")
    if "drop" not in found:
        return None

    def draw(axes: "Axes") -> None:
        steps, lost = found["drop"]
        points = [100 * drop for drop in lost]
        axes.plot(steps, points, color=colour("text"), marker="o", markersize=3.5, linewidth=1.6, label="points lost")
        axes.set_ylim(min(0.0, *points), max(10.0, *points) * 1.1)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("points lost against the untouched LLM")
        handles = list(axes.lines)
        if "kl" in found:
            right, (steps, nats) = second_axis(axes), found["kl"]
            style: dict[str, Any] = {"color": STAND_IN["--quiet"], "linestyle": "--", "linewidth": 1.2}
            handles += right.plot(steps, nats, label="KL to the untouched LLM (right)", **style)
            right.set_ylim(0, max(0.1, *nats) * 1.1)
            right.set_ylabel("KL (nats per token)")
        legend_above(axes, 2, handles=handles)

    return svg_of(label, draw)


def share_chart(label: str, asked: Mapping[str, Any], realised: Mapping[str, Any], unit: str) -> "Markup":
    """Draws, per kind, the share of ``unit`` that was asked for (pale) and the one that came (full)."""
    bars = [
        Bar(kind, kind, {"value": number(asked, kind)}, {"value": number(realised, kind)})
        for kind in in_order({**asked, **realised})
    ]

    def draw(axes: "Axes") -> None:
        _draw_bars(axes, bars, ("asked", "realised"), percent, 100.0)
        axes.set_xlim(left=0)
        axes.margins(x=0.12)
        axes.set_xlabel(f"share of {unit} (%)")

    return svg_of(label, draw)


def score_chart(label: str, bars: Sequence[Bar], axis: str, end: float, scale: float = 1.0) -> "Markup":
    """Draws scores with 95 % intervals: the untouched LLM pale, the checkpoint full.

    Args:
        label: As in ``svg_of``.
        bars: From top to bottom; values that are missing or not finite are left out.
        axis: What the values are.
        end: Where the axis ends; a longer bar is cut and its value written.
        scale: Factor from values to the axis.
    """

    def draw(axes: "Axes") -> None:
        _draw_bars(axes, bars, ("untouched LLM", "checkpoint"), lambda value: f"{scale * value:.3g}", scale, end)
        axes.set_xlim(0, end * 1.1)
        axes.set_xlabel(axis)

    return svg_of(label, draw, (4.4, 0.9 + _INCHES_PER_BAR * len(bars)))


def length_chart(label: str, edges: Sequence[float], counts: Mapping[str, Sequence[int]], axis: str) -> "Markup":
    """Draws how the conversations of each kind spread over lengths, as shares of the kind.

    Args:
        label: As in ``svg_of``.
        edges: Of the bins, rising, above 0; drawn on a logarithmic axis.
        counts: ``{kind: conversations per bin}``.
        axis: What the lengths are.
    """

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import LogLocator, NullLocator

        for kind in in_order(counts):
            shares = [100 * count / max(1, sum(counts[kind])) for count in counts[kind]]
            axes.stairs(shares, edges, color=colour(kind), linewidth=1.5, label=kind)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(axis)
        axes.set_ylabel("share of the kind (%)")
        axes.set_ylim(bottom=0)
        legend_above(axes, len(counts))

    return svg_of(label, draw)


def histogram(label: str, series: Mapping[str, Sequence[float]], axis: str) -> "Markup":
    """Draws how values spread, a second series as a line over the first."""

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import MaxNLocator

        together = np.concatenate([np.asarray(one, dtype=float) for one in series.values()])
        edges = np.histogram_bin_edges(together, bins=24)
        for place, (one, found) in enumerate(series.items()):
            how: dict[str, Any] = {"linewidth": 1.6} if place else {"fill": True, "alpha": 0.45}
            axes.stairs(np.histogram(found, edges)[0], edges, color=STAND_IN["--kind-asr"], label=one, **how)
        axes.set_xlabel(axis)
        axes.set_ylabel("how many")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        if len(series) > 1:
            legend_above(axes, len(series))

    return svg_of(label, draw)


def _draw_bars(
    axes: "Axes",
    bars: Sequence[Bar],
    sides: tuple[str, str],
    words: Callable[[float], str],
    scale: float,
    end: float = math.inf,
) -> None:
    """Draws pairs of bars from top to bottom, each with its value in words and a line for its interval."""
    for side, offset, alpha in (("pale", -0.2, _PALE), ("full", 0.2, 1.0)):
        for row, bar in enumerate(bars):
            value, low, high = (_finite(getattr(bar, side), key) for key in ("value", "low", "high"))
            if value is None:
                continue
            shown, place = min(scale * value, end), row + offset
            axes.barh(place, shown, height=0.36, color=colour(bar.kind), alpha=alpha)
            reach = shown if high is None else min(scale * high, end)
            if low is not None and scale * low < end:
                axes.plot([scale * low, reach], [place, place], color=STAND_IN["--ink"], linewidth=0.9, zorder=3)
            beside = (max(shown, reach), place)
            axes.annotate(words(value), beside, xytext=(3, 0), textcoords="offset points", va="center", fontsize=7.5)
        axes.barh(0, 0, color=STAND_IN["--quiet"], alpha=alpha, label=sides[side == "full"])
    axes.set_yticks(range(len(bars)), [bar.label for bar in bars])
    axes.tick_params(axis="y", length=0, labelcolor=STAND_IN["--ink"])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    legend_above(axes, 2)


def _finite(score: Mapping[str, Any], key: str) -> float | None:
    value = number(score, key)
    return value if value is not None and math.isfinite(value) else None
