"""The benchmarks of megatron-core at a tiny size: they compare what they say, and measure what they say."""

import json
from pathlib import Path

from scripts import launch

from nemo_vtb.paths import corpora_dir

BENCHMARKS = corpora_dir().parent / "benchmarks"


def run(folder: Path, name: str, *arguments: str) -> dict:
    report = folder / "report.json"
    code, said = launch(folder, "--tiny", "--json", str(report), *arguments, script=str(BENCHMARKS / name))
    assert code == 0, said
    return json.loads(report.read_text())


def test_one_rank_beside_hugging_face(tmp_path: Path):
    found = run(tmp_path, "megatron_gpu.py", "--steps", "1")
    assert found["logits_far"] < 1e-6
    assert all(found[side]["step_seconds"] > 0 for side in ("hugging_face", "megatron"))


def test_a_rank_holds_its_part(tmp_path: Path):
    sizes = run(tmp_path, "megatron_memory.py", "--sizes", "1", "2", "--positions", "16")["sizes"]
    norms_are_whole = 1.1
    assert sizes["1"]["weights_mb"] / 2 <= sizes["2"]["weights_mb"] < norms_are_whole * sizes["1"]["weights_mb"] / 2
