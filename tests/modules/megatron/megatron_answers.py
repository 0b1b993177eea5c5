"""One rank that asks the shipped checkpoint, on either backbone, by the commands that a user types."""

import contextlib
import functools
import io
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import megatron_shim
import torch

from nemo_vtb.cli import main


def as_torchrun(ranks: int) -> None:
    """Sets what torchrun sets for each process."""
    if ranks > 1:
        os.environ |= {"RANK": os.environ["LOCAL_RANK"], "WORLD_SIZE": str(ranks), "TORCHELASTIC_RUN_ID": "none"}


def ask(folder: Path, ranks: int, clip: str, asked: dict[str, Any]) -> None:
    """Writes what an evaluation of few items says, a conversation, and what the retention gate measures."""
    from nemo_vtb.evaluation.retention.text import RetainedText
    from nemo_vtb.models import load

    warnings.filterwarnings("ignore")
    megatron_shim.apply()
    as_torchrun(ranks)
    # One model for all three.
    load.load_checkpoint = functools.cache(load.load_checkpoint)
    cut = [] if ranks == 1 else [f"tensor_model_parallel_size={ranks}"]
    assert main(["eval", "shipped", *asked["eval"], f"out={folder}/eval{ranks}", *cut]) == 0
    # Lines are the first one's: the others have none.
    lines = [f"Transcribe the audio. @{clip}", "And in one word?", "/temperature", "Good night.", "/quit"]
    sys.stdin = io.StringIO("\n".join(lines) if ranks == 1 or os.environ["RANK"] == "0" else "")
    drawn = ["--max-tokens=6", "--precision=32-true", "--threads=1", "--temperature=0.5", "--seed=3"]
    cut = [] if ranks == 1 else [f"--tensor-parallel={ranks}"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert main(["chat", "shipped", *drawn, *cut]) == 0
    model = load.load_checkpoint("shipped", "cpu", "32-true", tensor_parallel=None if ranks == 1 else ranks)
    model.gated = False
    retained = RetainedText(model, asked["retention"]).measure()
    talk = [line.rpartition("you> ")[2] for line in said.getvalue().splitlines() if not line.startswith("     (")]
    found = {"said": talk, "suites": retained.suites, "kl": retained.kl}
    if ranks == 1 or torch.distributed.get_rank() == 0:
        (folder / f"answers{ranks}.json").write_text(json.dumps(found))
    else:
        assert not talk
