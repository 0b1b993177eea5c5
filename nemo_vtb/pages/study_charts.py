"""The pictures of a study: speech skill against kept text, each ability by itself, what the share of text changes."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nemo_vtb.pages.document import TEMPLATES
from nemo_vtb.pages.svg import legend_above, new_figure, second_axis
from nemo_vtb.whole_files import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Palette = Mapping[str, str]

_COLOURS = ("--kind-mixed", "--kind-asr", "--kind-text", "--kind-ast", "--kind-sqa", "--ink", "--quiet")
_MARKERS = "os^DvPX*"
_FAR = ("--kind-sqa", "--kind-mixed", "--kind-ast")
_DASHES = ("--", ":", "-.")
_DOTS_PER_INCH = 160
WIDTH, _HEIGHT = 4.6, 3.9
# Of an ability among others: for itself, and for each arm.
_ROW, _DOT = 0.12, 0.09
_VARIABLE = re.compile(r"(--[\w-]+): (#\w+);")


class Drawing(NamedTuple):
    """A picture of a study, with a note on how to read it; ``draw`` takes ``axes`` and ``palette``; inches high."""

    title: str
    note: str
    draw: "Callable[..., None]"
    height: float = _HEIGHT


def drawings(report: Mapping[str, Any]) -> Iterator[Drawing]:
    """Yields what there is to draw of the scores in ``study.json``: nothing is pooled that stands apart there."""
    arms = report["arms"].values()
    if any({"speech", "text"} <= arm["scores"].keys() for arm in arms):
        note = "Speech skill is the mean of words right, questions about speech and half spoken prompts."
        yield Drawing("Speech and text", f"Lines are 95% intervals. {note}", partial(draw_skills, report))
    for title, unit, measures in (
        ("Abilities in writing", "right (%)", ("choice", "text", "mixed_text")),
        ("Held-out text", "bits per byte: lower is better", ("bpb",)),
    ):
        names = [name for name in report["untouched"]["scores"] if _apart(name, measures)]
        if names:
            height = max(_HEIGHT, 1.2 + len(names) * (_ROW + _DOT * len(arms)))
            draw = partial(draw_abilities, report, names=names, unit=unit)
            yield Drawing(title, "Each by itself, with 95% intervals.", draw, height)
    if len(share_arms(report)) > 1:
        yield Drawing("Share of text", "Arms that differ in nothing else.", partial(draw_shares, report))


def draw_abilities(report: Mapping[str, Any], axes: "Axes", palette: Palette, names: Sequence[str], unit: str) -> None:
    """A row for each measure, with a point for each arm and the untouched LLM's score as a line."""
    scale, arms = 1 if unit.startswith("bits") else 100, list(report["arms"].values())
    for place, arm in enumerate(arms):
        rows = [row for row, name in enumerate(names) if name in arm["scores"]]
        scores = [arm["scores"][names[row]] for row in rows]
        axes.errorbar(
            [scale * score["value"] for score in scores],
            [row + 0.8 * ((place + 0.5) / len(arms) - 0.5) for row in rows],
            xerr=_reach(scores, scale),
            color=palette[_COLOURS[place % len(_COLOURS)]],
            marker=_MARKERS[place % len(_MARKERS)],
            markersize=4,
            linewidth=0.9,
            linestyle="none",
            elinewidth=0.9,
            label=arm["title"],
        )
    for row, name in enumerate(names):
        before = scale * report["untouched"]["scores"][name]["value"]
        label = "untouched LLM" if row == 0 else ""
        axes.vlines(before, row - 0.45, row + 0.45, palette["--quiet"], linestyle="--", linewidth=1.2, label=label)
    axes.set_yticks(range(len(names)), [name.partition("/")[2] for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(unit)
    legend_above(axes, 2)


def draw_skills(report: Mapping[str, Any], axes: "Axes", palette: Palette) -> None:
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


def draw_shares(report: Mapping[str, Any], axes: "Axes", palette: Palette) -> None:
    """Speech skill, kept text and divergence over the share of text, of arms that differ in nothing else."""
    arms = share_arms(report)
    right = second_axis(axes)
    handles = []
    pooled = any("kl" in arm["scores"] for arm in arms)
    far = ["kl"] if pooled else [name for name in arms[0]["scores"] if _apart(name, ("kl",))]
    for name, title, colour, on, style in (
        ("text", "text suites", "--kind-text", axes, "-"),
        ("speech", "speech skill", "--kind-asr", axes, "-"),
        *(
            (kl, f"KL to the untouched LLM{_of_set(kl)} (right)", one, right, dashes)
            for kl, one, dashes in zip(far, _FAR, _DASHES, strict=False)
        ),
    ):
        points = [(100 * arm["text_share"], arm["scores"][name]) for arm in arms if name in arm["scores"]]
        if points:
            scale = 100 if on is axes else 1
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
    """Writes all of them side by side, for a README.

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
    shown = list(drawings(report))
    size = (5.2 * len(shown), 0.5 + max(one.height for one in shown))
    with new_figure(size, style) as figure:
        for place, one in enumerate(shown, start=1):
            one.draw(axes=figure.add_subplot(1, len(shown), place), palette=light)
        with whole(path) as partial:
            figure.savefig(partial, format="png", dpi=_DOTS_PER_INCH)


def _apart(name: str, measures: Sequence[str]) -> bool:
    """Whether a score is of one set, by one of these measures."""
    measure, slash, _ = name.partition("/")
    return bool(slash) and measure in measures


def _of_set(name: str) -> str:
    _, slash, of_set = name.partition("/")
    return f", {of_set}" if slash else ""


def _reach(scores: Sequence[Mapping[str, Any]], scale: float = 100) -> list[list[float]]:
    """Lengths of error bars below and above."""
    below = [scale * max(0.0, score["value"] - score["low"]) for score in scores]
    return [below, [scale * max(0.0, score["high"] - score["value"]) for score in scores]]
