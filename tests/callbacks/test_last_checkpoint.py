"""The same command typed twice: what the first run learnt is not overwritten by a second that begins anew."""

from pathlib import Path

import pytest
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
