"""The scaling benchmark: a point is what its sizes say, a line fits, the plot is drawn."""

import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def step_scaling() -> Any:
    folder = str(Path(__file__).parents[2] / "examples" / "benchmarks")
    sys.path.insert(0, folder)
    import step_scaling

    yield step_scaling
    sys.path.remove(folder)


def test_a_point_measures_the_sizes_it_was_given(step_scaling: Any, monkeypatch: pytest.MonkeyPatch):
    from nemo_vtb import VoiceTextBlender

    seen: dict[str, Any] = {}
    step = VoiceTextBlender.training_step

    def watched(model: Any, batch: Any, index: int) -> Any:
        seen.update(clips=len(batch["audios"]), vocabulary=model.embed_tokens.num_embeddings)
        counts = model.encode_clips(batch)[1]
        seen["positions"] = sum(len(e.input_ids) for e in batch["encoded"]) + sum(count - 1 for count in counts)
        return step(model, batch, index)

    monkeypatch.setattr(VoiceTextBlender, "training_step", watched)
    found = step_scaling.point(1, 3, 2, 1000)
    assert (seen["clips"], seen["vocabulary"]) == (2, 1000) and seen["positions"] > 3 * 64
    assert {key: found[key] for key in seen} == seen
    assert found["seconds"] > 0 and found["memory_mb"] > 0


def test_a_line_says_how_much_it_explains(step_scaling: Any):
    fit = step_scaling.line([1, 2, 4], [3, 5, 9])
    assert (fit["slope"], fit["intercept"], fit["r2"]) == pytest.approx((2, 1, 1))
    assert (fit["size_growth"], fit["growth"]) == (4, 3)
    assert step_scaling.line([1, 2, 4], [1, 4, 16])["r2"] < 0.99


def test_the_plot_is_drawn(step_scaling: Any, tmp_path: Path):
    found = {}
    for axis in step_scaling.AXES:
        points = [{axis: size, "seconds": size / 10, "memory_mb": 5.0 + size} for size in (1, 2, 4)]
        fits = {key: step_scaling.line([1, 2, 4], [p[key] for p in points]) for key in ("seconds", "memory_mb")}
        found[axis] = {"points": points, **fits}
    step_scaling.draw(found, tmp_path / "plot.png")
    assert "4 times the vocabulary takes 1.5 times the memory" in step_scaling.summary(found)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
