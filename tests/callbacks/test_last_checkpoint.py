"""The same command typed twice: what the first run learnt is not overwritten by a second that begins anew."""

from pathlib import Path

import pytest
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from ranks import run_ranks
from tiny_training import CHECKPOINT, train

from nemo_vtb.models.checkpoints.file import read_checkpoint, read_progress


def _steps(folder: Path) -> dict[str, int]:
    return {path.name: read_checkpoint(path)["global_step"] for path in (folder / CHECKPOINT).parent.glob("*.ckpt")}


@pytest.mark.parametrize("strategy", ["ddp", "vtb_fsdp2"])
def test_what_an_earlier_run_left_is_kept(run_folder: Path, strategy: str):
    options = {"every": 1, "strategy": strategy}
    assert run_ranks(train, run_folder, "first", steps=2, **options) == [0, 0]
    assert run_ranks(train, run_folder, "second", steps=1, **options) == [0, 0]
    assert _steps(run_folder) == {"last.ckpt": 1, "last-v1.ckpt": 2}
    assert read_progress((run_folder / CHECKPOINT).parent) == (1, 1)
    assert run_ranks(train, run_folder, "goes on", steps=3, resume=True, **options) == [0, 0]
    assert _steps(run_folder) == {"last.ckpt": 3, "last-v1.ckpt": 2}
    assert run_ranks(train, run_folder, "third", steps=1, **options) == [0, 0]
    assert _steps(run_folder) == {"last.ckpt": 1, "last-v1.ckpt": 2, "last-v2.ckpt": 3}


@pytest.mark.parametrize("keeper", ["LastCheckpoint", "ModelCheckpoint"])
def test_a_run_that_is_over_before_its_last_step_says_so(run_folder: Path, keeper: str):
    """A job that is requeued until the last step would go on past an early stop, and past its epochs for ever."""
    folder = (run_folder / CHECKPOINT).parent
    stops = EarlyStopping("val_loss", min_delta=99.0, patience=2)
    callbacks = (stops, ModelCheckpoint(folder, save_last=True)) if keeper == "ModelCheckpoint" else (stops,)
    options = {"devices": 1, "strategy": "auto", "every": 2 if keeper == "LastCheckpoint" else None}
    train(run_folder, "stopped", steps=40, validate_every=1, more=callbacks, **options)
    assert read_progress(folder) == (3, 3)
    train(run_folder, "epochs", steps=-1, resume=True, max_epochs=1, limit_train_batches=4, **options | {"every": 2})
    assert read_progress(folder) == (4, 4)
