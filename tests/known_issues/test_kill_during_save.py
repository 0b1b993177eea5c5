"""A job killed while NeMo's checkpoint callback saves cannot be resumed: it marks the file and then refuses it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from nemo.utils.callbacks.nemo_model_checkpoint import NeMoModelCheckpoint
from nemo.utils.exp_manager import check_resume

from nemo_vtb.models.checkpoints.file import AtomicCheckpointIO

OPTIONS = {"resume_if_exists": True, "resume_ignore_no_checkpoint": True}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A run's folder with a whole checkpoint of step 1."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"global_step": 1}, path)
    return path


class Killed(BaseException):
    pass


def cut_short(*args: object, **kwargs: object) -> None:
    raise Killed


def test_nemo_refuses_to_go_on(saved: Path, tmp_path: Path):
    # What the callback does first; the kill comes before it takes the mark away.
    NeMoModelCheckpoint.set_checkpoint_unfinished_marker(saved)
    saved.write_bytes(saved.read_bytes()[:100])
    with pytest.raises(ValueError, match="Last checkpoint is unfinished and cannot be used to resume"):
        check_resume(SimpleNamespace(), tmp_path, **OPTIONS)


def test_ours_goes_on_from_the_one_before(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.fsync", cut_short)
    with pytest.raises(Killed):
        AtomicCheckpointIO().save_checkpoint({"global_step": 2}, saved)
    trainer = SimpleNamespace()
    check_resume(trainer, tmp_path, **OPTIONS)
    assert AtomicCheckpointIO().load_checkpoint(trainer.ckpt_path)["global_step"] == 1
