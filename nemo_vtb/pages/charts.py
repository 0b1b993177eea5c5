"""Charts of a report as SVG that follows the page's light or dark colours."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any, cast

from nemo_vtb.data.conversations.kinds import KINDS
from nemo_vtb.errors import VTBError
from nemo_vtb.reports.figures import number, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[list[float], list[float]]

# matplotlib draws with stand-in colours, which the SVG then replaces by the variables of page.css.
STAND_IN = {"--ink": "#010203", "--quiet": "#010204", "--line": "#010205"} | {
    f"--kind-{kind}": f"#01020{digit}" for kind, digit in zip(KINDS, "6789a", strict=True)
}
_MARKERS = dict(zip(KINDS, "os^Dv", strict=True))
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nemo_vtb",
    "text.parse_math": False,
    "font.size": 8.5,
    "text.color": STAND_IN["--ink"],
    "axes.labelcolor": STAND_IN["--quiet"],
    "axes.edgecolor": STAND_IN["--line"],
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": STAND_IN["--line"],
    "grid.linewidth": 0.6,
    "xtick.color": STAND_IN["--line"],
    "ytick.color": STAND_IN["--line"],
    "xtick.labelcolor": STAND_IN["--quiet"],
    "ytick.labelcolor": STAND_IN["--quiet"],
    "legend.frameon": False,
}


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
    return {kind: found[kind] for kind in _in_order(found)}


def smooth(values: Sequence[float]) -> list[float]:
    """Returns the centred moving average over a fifteenth of the values; at the ends over those there are."""
    reach = len(values) // 30
    windows = (values[max(0, i - reach) : i + reach + 1] for i in range(len(values)))
    return [sum(window) / len(window) for window in windows]


def loss_chart(name: str, label: str, series: Mapping[str, Curve], raw: bool) -> str:
    """Draws losses over steps, one colour per kind.

    Args:
        name: Makes the ids inside the SVG unique on the page.
        label: What a screen reader says.
        series: ``{kind: (steps, losses in nats per token)}``.
        raw: Draw the values thin behind their moving average, rather than joined by markers.

    Raises:
        VTBError: If matplotlib is not installed.
    """

    def draw(axes: "Axes") -> None:
        tops = []
        for kind, (steps, values) in series.items():
            line = smooth(values) if raw else values
            tops.append(max(line))
            marks: dict[str, Any] = {} if raw else {"marker": _MARKERS.get(kind, "x"), "markersize": 3.5}
            axes.plot(steps, line, color=colour(kind), linewidth=1.6, label=kind, zorder=3, **marks)
            if raw:
                axes.plot(steps, values, color=colour(kind), linewidth=0.6, alpha=0.3)
        # Single spikes of the raw loss may leave the picture, or they would flatten everything else.
        axes.set_ylim(0, max(tops) * 1.1 or 1)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("loss (nats per supervised token)")
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(series), handlelength=1.2, columnspacing=1.0
        )

    return svg_of(name, label, draw)


def share_chart(name: str, label: str, asked: Mapping[str, Any], realised: Mapping[str, Any], unit: str) -> str:
    """Draws, per kind, the share of ``unit`` that was asked for (pale) and the one that came (full).

    Raises:
        VTBError: If matplotlib is not installed.
    """
    kinds = _in_order({**asked, **realised})

    def draw(axes: "Axes") -> None:
        for shares, offset, alpha in ((asked, -0.2, 0.4), (realised, 0.2, 1.0)):
            for row, kind in enumerate(kinds):
                share = number(shares, kind)
                if share is not None and math.isfinite(share):
                    end = (100 * share, row + offset)
                    axes.barh(end[1], end[0], height=0.36, color=colour(kind), alpha=alpha)
                    axes.annotate(
                        percent(share), end, xytext=(3, 0), textcoords="offset points", va="center", fontsize=7.5
                    )
        axes.set_yticks(range(len(kinds)), kinds)
        axes.tick_params(axis="y", length=0, labelcolor=STAND_IN["--ink"])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
        axes.margins(x=0.12)
        axes.set_xlabel(f"share of {unit} (%)")
        ink = STAND_IN["--quiet"]
        axes.bar(0, 0, color=ink, alpha=0.4, label="asked")
        axes.bar(0, 0, color=ink, label="realised")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, handlelength=1.3)

    return svg_of(name, label, draw)


def length_chart(name: str, label: str, edges: Sequence[float], counts: Mapping[str, Sequence[int]], axis: str) -> str:
    """Draws how the conversations of each kind spread over lengths, as shares of the kind.

    Args:
        name: As in ``loss_chart``.
        label: What a screen reader says.
        edges: Of the bins, rising, above 0; drawn on a logarithmic axis.
        counts: ``{kind: conversations per bin}``.
        axis: What the lengths are.

    Raises:
        VTBError: If matplotlib is not installed.
    """

    def draw(axes: "Axes") -> None:
        from matplotlib.ticker import LogLocator, NullLocator

        for kind in _in_order(counts):
            shares = [100 * count / max(1, sum(counts[kind])) for count in counts[kind]]
            axes.stairs(shares, edges, color=colour(kind), linewidth=1.5, label=kind)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(axis)
        axes.set_ylabel("share of the kind (%)")
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(counts), handlelength=1.0, columnspacing=1)

    return svg_of(name, label, draw)


def svg_of(name: str, label: str, draw: "Callable[[Axes], None]", size: tuple[float, float] = (4.4, 2.95)) -> str:
    """Draws an SVG for a page.

    Args:
        name: Makes the ids inside the SVG unique on the page.
        label: What a screen reader says.
        draw: Draws into the axes.
        size: In inches, at the font's size.

    Raises:
        VTBError: If matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise VTBError("the report page needs matplotlib; run: pip install 'nemo-vtb[quickstart]'") from error
    with rc_context(cast(Any, _STYLE)):
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        draw(axes)
        file = StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return _inline(file.getvalue(), name, label)


def _inline(svg: str, name: str, label: str) -> str:
    """Makes a stand-alone SVG fit for a page: unique ids, the page's colours and font, no fixed size."""
    view_box = svg.partition('viewBox="')[2].partition('"')[0]
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|font-family:[^;\"]*;?", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    for variable, colour in STAND_IN.items():
        body = body.replace(colour, f"var({variable})")
    return f'<svg class="chart" viewBox="{view_box}" role="img" aria-label="{label}">{body}'


def colour(kind: str) -> str:
    """Returns the stand-in for a kind's colour on the page."""
    return STAND_IN.get(f"--kind-{kind}", STAND_IN["--quiet"])


def _in_order(kinds: Mapping[str, Any]) -> list[str]:
    return [kind for kind in KINDS if kind in kinds] + sorted(set(kinds) - set(KINDS))
