"""Time and memory of the joint step against positions, clips and vocabulary, with a plot.

python examples/benchmarks/step_scaling.py --json examples/benchmarks/results/step_scaling.json

One quantity grows while the others stay: text conversations of 64 positions, 16 of them supervised, clips of 4 s with a
conversation each, random weights (an LLM of 4 layers 256 wide, a FastConformer of 4 layers). Each point is a process of
its own: a step to warm up, then the median of some; memory is the peak above the loaded model. Time is that of the
processor, which other work on the machine does not lengthen.
"""

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

_VOCABULARY, _TEXTS, _CLIPS = 32000, 16, 4
_TEXT_LENGTH, _SUPERVISED, _CLIP_SECONDS = 64, 16, 4
AXES: dict[str, list[dict[str, int]]] = {
    "positions": [{"texts": n} for n in (8, 16, 32, 64, 128)],
    "clips": [{"clips": n} for n in (2, 4, 8, 16, 32)],
    "vocabulary": [{"vocabulary": n} for n in (16000, 32000, 64000, 128000, 256000)],
}
_MEASURED = {"seconds": "CPU seconds a step", "memory_mb": "MB above the loaded model"}


def main() -> None:
    from step_job import about_machine
    from step_vs_salm import apart

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where the measurements go, the plot beside them")
    parser.add_argument("--repeats", type=int, default=3, help="steps a point")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for axis, points in AXES.items():
        rows = [apart(point, args.repeats, *_sizes(given)) for given in points]
        found[axis] = {"points": rows, **{key: line([row[axis] for row in rows], [row[key] for row in rows])
                                          for key in _MEASURED}}  # fmt: skip
        print(axis, *(f"{row[axis]}: {row['seconds']:.2f} s {row['memory_mb']:.0f} MB" for row in rows), flush=True)
    found["environment"], _ = apart(about_machine, shlex.join(["python", *sys.argv]), 0)
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(found, indent=2) + "\n")
    draw(found, args.json.with_suffix(".png"))
    print(summary(found))


def summary(found: dict[str, Any]) -> str:
    """What the plot shows, in words."""
    shares = {key: ", ".join(f"{found[axis][key]['r2']:.1%}" for axis in AXES) for key in _MEASURED}
    vocabulary = found["vocabulary"]["memory_mb"]
    return (
        f"Straight lines over {', '.join(AXES)} explain {shares['seconds']} of the variance of the CPU time and "
        f"{shares['memory_mb']} of that of the memory;\n{vocabulary['size_growth']:.0f} times the vocabulary takes "
        f"{vocabulary['growth']:.1f} times the memory, because only one chunk's logits exist."
    )


def point(repeats: int, texts: int, clips: int, vocabulary: int) -> dict[str, float]:
    """Measures one size."""
    import step_arm
    import torch
    from step_models import model_section

    from nemo_vtb import VoiceTextBlender

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        # Logits of a chunk are what grows with the vocabulary; the chunk is smaller than what is supervised here.
        options = {"llm_dtype": "bfloat16", "loss_chunk": 128}
        model = VoiceTextBlender({**model_section("small", Path(name), vocabulary), **options})
    batch = _batch(texts, clips, vocabulary, model.audio_locator_tag_id)
    model.configure_model()

    def step() -> float:
        start = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model.training_step(batch, 0)["loss"]
        loss.backward()
        model.zero_grad(set_to_none=True)
        return time.process_time() - start

    held = step_arm.reset_memory("cpu")
    step()
    seconds = statistics.median(step() for _ in range(repeats))
    positions = texts * _TEXT_LENGTH + clips * (_TEXT_LENGTH // 2 + round(_CLIP_SECONDS / 0.08))
    return {
        "positions": positions,
        "clips": clips,
        "vocabulary": vocabulary,
        "seconds": seconds,
        "memory_mb": step_arm.peak_memory("cpu") - held,
    }


def line(sizes: list[float], values: list[float]) -> dict[str, float]:
    """The least-squares line, how much of the variance it explains, and the growth from the first size to the last."""
    import numpy as np

    slope, intercept = np.polyfit(sizes, values, 1)
    rest = np.square(np.asarray(values) - (slope * np.asarray(sizes) + intercept)).sum()
    spread = np.square(np.asarray(values) - np.mean(values)).sum()
    growth = {"size_growth": sizes[-1] / sizes[0], "growth": values[-1] / values[0]}
    return {"slope": float(slope), "intercept": float(intercept), "r2": float(1 - rest / spread), **growth}


def draw(found: dict[str, Any], path: Path) -> None:
    """Points and lines: time above, memory below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots(len(_MEASURED), len(AXES), sharex="col")
    for row, (key, label) in enumerate(_MEASURED.items()):
        for column, axis in enumerate(AXES):
            panel, fit = axes[row][column], found[axis][key]
            sizes = [point[axis] for point in found[axis]["points"]]
            panel.plot(sizes, [point[key] for point in found[axis]["points"]], "o", color="C0")
            panel.plot(sizes, [fit["slope"] * size + fit["intercept"] for size in sizes], "-", color="C0", alpha=0.5)
            panel.set(xlim=(0, None), ylim=(0, None), ylabel=label if not column else "")
            panel.set_title(f"line explains {fit['r2']:.1%}", fontsize=9)
            panel.grid(alpha=0.3)
            if row:
                panel.set_xlabel({"positions": "LLM positions", "clips": "clips of 4 s"}.get(axis, axis))
    figure.savefig(path, dpi=100)


def _sizes(given: dict[str, int]) -> tuple[int, int, int]:
    return given.get("texts", _TEXTS), given.get("clips", _CLIPS), given.get("vocabulary", _VOCABULARY)


def _batch(texts: int, clips: int, vocabulary: int, placeholder: int) -> dict[str, Any]:
    """Random ids and noise; a clip stands in a conversation half as long as those of text."""
    import numpy as np
    import torch

    from nemo_vtb.parts.prompts.turn_mask import EncodedConversation

    rng = np.random.default_rng(0)

    def encoded(length: int, supervised: int, clip: bool) -> EncodedConversation:
        ids = rng.integers(placeholder + 1, vocabulary, length)
        if clip:
            ids = np.insert(ids, 4, placeholder)
        return EncodedConversation(ids, np.arange(len(ids)) >= len(ids) - supervised)

    samples = _CLIP_SECONDS * 16000
    return {
        "encoded": [encoded(_TEXT_LENGTH, _SUPERVISED, False) for _ in range(texts)]
        + [encoded(_TEXT_LENGTH // 2, _SUPERVISED // 2, True) for _ in range(clips)],
        "audios": 0.1 * torch.randn(clips, samples),
        "audio_lens": torch.full((clips,), samples),
    }


if __name__ == "__main__":
    main()
