"""What a rank that Slurm starts does, in a fork of a process that has imported NeMo: it starts at once."""

import json
import os
from pathlib import Path

from tiny_training import CHECKPOINT, train


def rank(arguments: list[str]) -> None:
    """Trains as the job's script asks, with options as JSON, from the last checkpoint where there is one."""
    folder = Path(os.environ["VTB_RUN"])
    (folder / f"pid.{os.environ['RANK']}").write_text(str(os.getpid()))
    nodes, devices = int(os.environ["VTB_NODES"]), int(os.environ["VTB_DEVICES"])
    resume = (folder / CHECKPOINT).exists()
    train(folder, "slurm", devices=devices, num_nodes=nodes, resume=resume, **json.loads(arguments[0]))
