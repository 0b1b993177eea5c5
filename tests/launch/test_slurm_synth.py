"""examples/slurm/generate.sbatch on a real Slurm: an array makes data, and its last part joins."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from nemo_vtb.cli import main


def test_an_array_makes_what_one_run_makes_and_its_last_part_joins(
    slurm: SimpleNamespace,
    tiny_llm: Path,
    tmp_path: Path,
    until: Callable[..., None],
    capfd: pytest.CaptureFixture,
):
    # An untrained LLM writes nothing fit; what was dropped, and why, shows that every item was made once.
    options = ["llm.backend=hf", f"llm.model={tiny_llm}", "count=6", "shard_size=2", "exchanges=[1]"]
    limits = ["user.tokens=[1,4]", "answer.tokens=[1,4]"]
    assert main(["synth", "text", f"out={tmp_path / 'one'}", *options, *limits]) == 0
    capfd.readouterr()

    out = tmp_path / "array"
    launch = ["--run", str(tmp_path), "--parts=2", "--gpus-per-node=0", "--cpus-per-task=1", "--time=5"]
    vtb = [sys.executable, "-m", "nemo_vtb.cli", "synth", "text", f"out={out}", *options, *limits]
    assert main(["launch", "slurm", *launch, "--", *vtb, "part={part}/{parts}"]) == 0
    job = capfd.readouterr().out.strip()

    said = [tmp_path / "slurm" / f"{job}-{part}.out" for part in (0, 1)]
    until(lambda: all(path.exists() and "vtb: made part" in path.read_text() for path in said), f"the array {job}")
    for name in ("drops.jsonl", "conversations.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    drops = [json.loads(line) for line in (out / "drops.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (out / "conversations.jsonl").read_text().splitlines()]
    assert sorted(row["id"] for row in [*drops, *rows]) == [f"replay-0-{number:06d}" for number in range(6)]
    assert (out / "card.html").exists()
    assert any(f"in {out}" in path.read_text() for path in said)
