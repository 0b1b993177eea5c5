"""The pictures of a study: speech skill against kept text, and what the share of text changes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.pages.document import TEMPLATES
from nemo_vtb.pages.svg import legend_above, new_figure, second_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Palette = Mapping[str, str]

_COLOURS = ("--kind-mixed", "--kind-asr", "--kind-text", "--kind-ast", "--kind-sqa", "--ink", "--quiet")
_MARKERS = "os^DvPX*"
_DOTS_PER_INCH = 160
_VARIABLE = re.compile(r"(--[\w-]+): (#\w+);")


def draw_skills(axes: "Axes", report: Mapping[str, Any], palette: Palette) -> None:
    """One point per arm: how well it hears, and how much of the LLM's text is left."""
    for place, arm in enumerate(report["arms"].values()):
        x, y = (arm["scores"].get(name) for name in ("speech", "text"))
        if x is None or y is None:
            continue
        *_, lines = axes.errorbar(
            100 * x["value"],
            100 * y["value"],
            xerr=_reach([x]),
            yerr=_reach([y]),
            color=palette[_COLOURS[place % len(_COLOURS)]],
            marker=_MARKERS[place % len(_MARKERS)],
            markersize=5,
            linewidth=0.9,
            label=arm["title"],
        )
        for line in lines:
            line.set_alpha(0.4)
    if (untouched := report["untouched"]["scores"].get("text")) is not None:
        axes.axhline(100 * untouched["value"], color=palette["--quiet"], linestyle="--", linewidth=1)
        axes.annotate(
            "untouched LLM",
            (0, 100 * untouched["value"]),
            xycoords=("axes fraction", "data"),
            xytext=(3, 3),
            textcoords="offset points",
            fontsize=7.5,
        )
    axes.set_xlabel("speech skill (%)")
    axes.set_ylabel("text suites right (%)")
    axes.margins(0.08)
    legend_above(axes, 2)


def draw_shares(axes: "Axes", report: Mapping[str, Any], palette: Palette) -> None:
    """Speech skill, kept text and divergence over the share of text, of arms that differ in nothing else."""
    arms = share_arms(report)
    right = second_axis(axes)
    handles = []
    for name, title, colour, on, style in (
        ("text", "text suites", "--kind-text", axes, "-"),
        ("speech", "speech skill", "--kind-asr", axes, "-"),
        ("kl", "KL to the untouched LLM (right)", "--kind-sqa", right, "--"),
    ):
        points = [(100 * arm["text_share"], arm["scores"][name]) for arm in arms if name in arm["scores"]]
        if points:
            scale = 1 if name == "kl" else 100
            shares, scores = zip(*points, strict=True)
            reach = _reach(scores, scale)
            values = [scale * score["value"] for score in scores]
            drawing: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.5, "linestyle": style}
            handles.append(on.errorbar(shares, values, yerr=reach, color=palette[colour], label=title, **drawing))
    axes.set_xlabel("share of text in training (% of supervised tokens)")
    axes.set_ylabel("right (%)")
    axes.set_ylim(0, 100)
    right.set_ylabel("KL (nats per token)")
    right.set_ylim(bottom=0)
    legend_above(axes, 2, handles=handles)


def share_arms(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The arms that differ in their share of text alone, by that share."""
    plain = [arm for arm in report["arms"].values() if arm["plain"] and arm["text_share"] is not None]
    return sorted(plain, key=lambda arm: arm["text_share"])


def write_picture(report: Mapping[str, Any], path: Path) -> None:
    """Writes both side by side, for a README.

    Raises:
        VTBError: If matplotlib is not installed.
    """
    # A picture that stands alone has the page's light colours.
    light = dict(_VARIABLE.findall((TEMPLATES / "page.css").read_text(encoding="utf-8").partition("@media")[0]))
    style = {
        "font.size": 9,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": light["--line"],
        "axes.spines.top": False,
        "legend.frameon": False,
    }
    both = len(share_arms(report)) > 1
    with new_figure((10.4 if both else 5.2, 4.4), style) as figure:
        draw_skills(figure.add_subplot(1, 1 + both, 1), report, light)
        if both:
            draw_shares(figure.add_subplot(1, 2, 2), report, light)
        partial = path.with_name(f".{path.name}")
        figure.savefig(partial, format="png", dpi=_DOTS_PER_INCH)
    partial.replace(path)


def _reach(scores: Sequence[Mapping[str, Any]], scale: float = 100) -> list[list[float]]:
    """Lengths of error bars below and above."""
    below = [scale * max(0.0, score["value"] - score["low"]) for score in scores]
    return [below, [scale * max(0.0, score["high"] - score["value"]) for score in scores]]
