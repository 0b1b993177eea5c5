"""A chart as SVG that follows the page's light or dark colours."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any, cast

from nemo_vtb.data.conversations.kinds import KINDS
from nemo_vtb.errors import VTBError

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# matplotlib draws with stand-in colours, which the SVG then replaces by the variables of page.css.
STAND_IN = {"--ink": "#010203", "--quiet": "#010204", "--line": "#010205"} | {
    f"--kind-{kind}": f"#01020{digit}" for kind, digit in zip(KINDS, "6789a", strict=True)
}
_STYLE = {
    # A hidden patch comes back when the axes get a twin; a transparent one does not.
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
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


def colour(kind: str) -> str:
    """Returns the stand-in for a kind's colour on the page."""
    return STAND_IN.get(f"--kind-{kind}", STAND_IN["--quiet"])


def svg_of(label: str, draw: "Callable[[Axes], None]", size: tuple[float, float] = (4.4, 2.95)) -> "Markup":
    """Draws an SVG for a page.

    Args:
        label: What a screen reader says; two charts of a page differ in it, as the ids inside do.
        draw: Draws into the axes.
        size: In inches, at the font's size.

    Raises:
        VTBError: If matplotlib is not installed.
    """
    file = StringIO()
    with new_figure(size, _STYLE) as figure:
        draw(figure.add_subplot())
        figure.savefig(file, format="svg", metadata={"Date": None})
    return _inline(file.getvalue(), label)


def require_plots() -> None:
    """Sees whether charts can be drawn, before what takes long.

    Raises:
        VTBError: If matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise VTBError("plots need matplotlib; run: pip install 'nemo-vtb[quickstart]' or '[eval]'") from error


@contextmanager
def new_figure(size: tuple[float, float], style: Mapping[str, Any]) -> "Iterator[Figure]":
    """An empty figure in a style.

    Raises:
        VTBError: If matplotlib is not installed.
    """
    require_plots()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(cast(Any, style)):
        yield Figure(figsize=size, layout="constrained")


def second_axis(axes: "Axes") -> "Axes":
    """An axis of its own on the right, without a grid."""
    right = axes.twinx()
    right.grid(visible=False)
    return right


def legend_above(axes: "Axes", columns: int, **more: Any) -> None:
    """Puts the legend over the picture, where it hides nothing."""
    where: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
    axes.legend(ncols=columns, handlelength=1.3, columnspacing=1.0, **where, **more)


def _inline(svg: str, label: str) -> "Markup":
    """Makes a stand-alone SVG fit for a page: unique ids, the page's colours and font, no fixed size."""
    from markupsafe import Markup

    name = re.sub(r"\W+", "-", label).lower()
    view_box = svg.partition('viewBox="')[2].partition('"')[0]
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|font-family:[^;\"]*;?", "", body, flags=re.DOTALL)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", body)
    for variable, stand_in in STAND_IN.items():
        body = body.replace(stand_in, f"var({variable})")
    head = Markup('<svg class="chart" viewBox="{}" role="img" aria-label="{}">').format(view_box, label)
    return head + Markup(body)
