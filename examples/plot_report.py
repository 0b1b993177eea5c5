"""Draws the curves of a run for a page that cannot show HTML.

python examples/plot_report.py runs/reference/report.json runs/reference/curves.png
"""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

from nemo_vtb.pages.charts import curves, smooth

NOT_SHOWN = ("alignment",)


def main(report_path: str, picture_path: str) -> None:
    """Writes training losses (moving average) and held-out losses side by side."""
    history = json.loads(Path(report_path).read_text(encoding="utf-8"))["history"]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for kind, (steps, values) in curves(history["train"], "loss_").items():
        if kind not in NOT_SHOWN:
            left.plot(steps, smooth(values), label=kind)
    for kind, (steps, values) in curves(history["validation"], "val_loss_").items():
        right.plot(steps, values, marker="o", markersize=3, label=kind)
    for axes, title in ((left, "training"), (right, "held out")):
        axes.set(title=title, xlabel="step", ylabel="loss, nats per supervised token", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(picture_path, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
