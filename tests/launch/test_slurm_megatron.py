"""An LLM cut over two nodes of a real Slurm, as ``vtb launch slurm`` submits it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from ranks import run_ranks
from tiny_training import recorded, train

from nemo_vtb.cli import main


def test_one_llm_on_two_nodes(
    slurm: SimpleNamespace,
    rank_command: list[str],
    run_folder: Path,
    until: Callable[..., None],
    capfd: pytest.CaptureFixture,
):
    cfg = json.loads((run_folder / "config.json").read_text())
    cfg["model"]["lora"]["target_modules"] = "auto"
    cfg["model"] |= {"llm_backend": "megatron", "tensor_model_parallel_size": 1}
    (run_folder / "config.json").write_text(json.dumps(cfg))
    options = {"steps": 4, "every": 100, "strategy": "vtb_megatron"}
    assert run_ranks(train, run_folder, "whole", ranks=1, devices=1, **options) == [0]
    (run_folder / "checkpoints" / "last.ckpt").unlink()
    cfg["model"]["tensor_model_parallel_size"] = 2
    (run_folder / "config.json").write_text(json.dumps(cfg))
    nodes = ["--nodes=2", "--gpus-per-node=0", "--cpus-per-task=1", "--time=5"]
    assert main(["launch", "slurm", "--run", str(run_folder), *nodes, "--", *rank_command, json.dumps(options)]) == 0
    job = capfd.readouterr().out.strip()

    def state() -> str:
        shown = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, timeout=30).stdout
        return shown.partition("JobState=")[2].split()[0]

    until(lambda: state() in ("COMPLETED", "FAILED"), f"the end of job {job}")
    assert state() == "COMPLETED", (run_folder / "slurm" / f"{job}.out").read_text()
    whole = [float.fromhex(row["loss"]) for row in recorded(run_folder, "whole", 0)]
    for rank in (0, 1):
        rows = recorded(run_folder, "slurm", rank)
        assert [float.fromhex(row["loss"]) for row in rows] == pytest.approx(whole, rel=1e-5)
        assert [row["samples"] for row in rows] == [row["samples"] for row in recorded(run_folder, "whole", 0)]
