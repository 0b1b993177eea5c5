"""An epoch of a blend: once through its smallest covering."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Callback, Trainer, seed_everything
from omegaconf import OmegaConf

from nemo_vtb import VoiceTextBlender, VTBDataModule, VTBDataset
from nemo_vtb.callbacks.last_checkpoint import LastCheckpoint
from nemo_vtb.data.blend.epoch import batches_per_epoch, counts_epochs
from nemo_vtb.data.blend.walk import Blend
from nemo_vtb.errors import VTBError


class Rows:
    """Conversations of ten positions, four of them supervised."""

    name, weight, fingerprint = "rows", 1.0, "rows"

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def sizes(self, indices: np.ndarray, epoch: int) -> np.ndarray:
        return np.tile([10.0, 4.0, 0.0], (len(indices), 1))


def blend(shares: Any, **options: Any) -> Blend:
    return Blend({"text": [Rows(7)], "asr": [Rows(20), Rows(3)]}, shares, "examples", **options)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("strategy", ["stratified", "mixed", "alternate"])
def test_it_is_the_smallest_number_of_batches_in_which_everything_is_drawn(strategy: str, ranks: int):
    walked = blend({"text": 0.5, "asr": 0.5}, strategy=strategy)
    length = batches_per_epoch(walked, 60, ranks)
    state, drawn = walked.start(), set()
    for step in range(length):
        assert len(drawn) < 30
        assert step < length
        drawn |= {(row.kind, row.source, row.row) for batch in walked.step(state, 60, ranks) for row in batch}
    assert len(drawn) == 30


def test_it_does_not_end_inside_a_window_of_accumulated_gradients():
    assert batches_per_epoch(blend({"text": 0.5, "asr": 0.5}, batches_per_step=4), 60) % 4 == 0


def test_a_share_that_falls_to_nothing_too_early_is_named():
    with pytest.raises(VTBError, match="the share of asr falls to 0"):
        batches_per_epoch(blend({"text": 0.5, "asr": {0: 0.5, 2: 0.0}}), 60)
    early = blend({"text": {0: 0.9, 40: 0.0}, "asr": 0.5})
    assert batches_per_epoch(early, 60) > 1


@pytest.mark.parametrize(
    ("asked", "validates", "counted"),
    [
        ({"max_steps": 5}, False, False),
        ({"max_steps": 5, "max_epochs": -1}, False, False),
        ({"max_epochs": 2}, False, True),
        ({"max_steps": 5, "min_epochs": 1}, False, True),
        ({"max_steps": 5, "limit_train_batches": 0.5}, False, True),
        ({"max_epochs": 2, "limit_train_batches": 3}, True, False),
        ({"max_steps": 5}, True, True),
        ({"max_steps": 5, "limit_val_batches": 0}, True, False),
        ({"max_steps": 5, "val_check_interval": 2, "check_val_every_n_epoch": None}, True, False),
    ],
)
def test_an_epoch_is_counted_where_something_depends_on_it(asked: dict[str, Any], validates: bool, counted: bool):
    trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, **asked)
    assert counts_epochs(trainer, validates) is counted


class Samples(Callback):
    """Notes what is trained on; perhaps stops as a kill would, after the batch was saved."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.seen: list[list[str]] = []
        self.kill_at = kill_at

    def on_train_batch_start(self, trainer: Any, model: Any, batch: Any, batch_idx: int) -> None:
        if trainer.global_step == self.kill_at:
            raise RuntimeError("killed")
        self.seen.append([conversation.id for conversation in batch["conversations"]])

    def on_train_epoch_end(self, trainer: Any, model: Any) -> None:
        if trainer.global_step == self.kill_at:
            raise RuntimeError("killed")


def fit(folder: Path, name: str, kill_at: int | None = None, **options: Any) -> tuple[Trainer, list[list[str]]]:
    cfg = json.loads((folder / "config.json").read_text())
    cfg["data"].pop("validation_ds")
    seed_everything(0, verbose=False)
    model = VoiceTextBlender(cfg["model"])
    data = VTBDataModule(OmegaConf.create(cfg["data"]), model.tokenizer, VTBDataset(model.tokenizer, "chatml"))
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary"), False)
    samples = Samples(kill_at)
    last = LastCheckpoint(1, str(folder / name))
    trainer = Trainer(
        accelerator="cpu", devices=1, callbacks=[samples, last], default_root_dir=folder, **quiet, **options
    )
    path = folder / name / "last.ckpt"
    try:
        trainer.fit(model, data, ckpt_path=str(path) if path.exists() else None)
    except RuntimeError as error:
        assert "killed" in str(error)
    return trainer, samples.seen


@pytest.mark.parametrize("past", [-1, 0, 1], ids=["before", "at", "behind"])
def test_a_run_killed_around_the_end_of_an_epoch_goes_on_as_if_nothing_had_been(past: int, run_folder: Path):
    options = {"max_steps": -1, "max_epochs": 2}
    trainer, whole = fit(run_folder, "whole", **options)
    length = trainer.num_training_batches
    assert len(whole) == 2 * length
    _, first = fit(run_folder, "killed", kill_at=length + past, **options)
    trainer, second = fit(run_folder, "killed", **options)
    assert first + second == whole and trainer.current_epoch == 2
