"""The curves of a run: what a step had nothing of has no value there."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer
from tiny_training import train

from nemo_vtb.callbacks.progress import KindProgress


class Kinds(Callback):
    """Remembers the kinds of each batch."""

    def __init__(self) -> None:
        self.seen: list[set[str]] = []

    def on_train_batch_start(self, trainer: Trainer, model: Any, batch: Any, batch_idx: int) -> None:
        self.seen.append(set(batch["kinds"]))


def test_a_step_has_losses_of_its_own_kinds_alone(run_folder: Path):
    config = json.loads((run_folder / "config.json").read_text())
    kinds = config["data"]["train_ds"]["blend"]["kinds"]
    kinds["text"]["share"], kinds["asr"]["share"] = {0: 1.0, 2: 0.0}, {0: 0.0, 2: 1.0}
    (run_folder / "config.json").write_text(json.dumps(config))
    drawn, progress = Kinds(), KindProgress()
    train(run_folder, "log", "auto", steps=4, devices=1, more=(drawn, progress))
    assert {"text"} in drawn.seen and {"asr"} in drawn.seen
    for seen, row in zip(drawn.seen, progress.train, strict=True):
        assert {name for name in row if name.startswith("loss_")} == {f"loss_{kind}" for kind in seen}
        assert row["loss"] > 0 and row["learning_rate"] > 0
