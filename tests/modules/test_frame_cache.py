"""Frames of a frozen encoder are the same from memory, from files, and encoded anew."""

import pytest
import torch

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.errors import VTBError
from nemo_vtb.models.voice_text_blender import VoiceTextBlender
from nemo_vtb.modules import frame_cache

FROZEN = [r"^llm\..+$", r"^embed_tokens\..+$", r"^perception\.encoder\..+$"]


@pytest.fixture
def batch(tokenizer, conversation, clips):
    rows = [conversation(c.path.stem, ("user", c.path), ("assistant", c.text)) for c in clips[:3]]
    return VTBDataset(tokenizer, "qwen")[rows]


def _model(tiny_cfg, seed=0, **overrides):
    torch.manual_seed(seed)
    return VoiceTextBlender(tiny_cfg(adapter="vtb", freeze_params=FROZEN, **overrides)).eval()


def test_later_runs_read_what_earlier_runs_encoded(tiny_cfg, batch, tmp_path, monkeypatch):
    folder = str(tmp_path / "frames")
    first = _model(tiny_cfg, encoder_cache=folder).encode_clips(batch)
    again = _model(tiny_cfg, encoder_cache=folder)
    assert len(again.frame_cache) == 3
    monkeypatch.setattr(frame_cache, "encoder_frames", lambda *_: pytest.fail("encoded twice"))
    second = again.encode_clips(batch)
    assert first[1] == second[1]
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=0)
    in_memory = _model(tiny_cfg, encoder_cache=True)
    monkeypatch.undo()
    torch.testing.assert_close(in_memory.encode_clips(batch)[0], second[0], rtol=0, atol=0)


def test_files_of_another_encoder_are_not_read(tiny_cfg, batch, tmp_path):
    folder = str(tmp_path / "frames")
    _model(tiny_cfg, encoder_cache=folder).encode_clips(batch)
    assert not len(_model(tiny_cfg, seed=1, encoder_cache=folder).frame_cache)


def test_a_killed_run_leaves_readable_files(tiny_cfg, batch, tmp_path):
    folder = tmp_path / "frames"
    _model(tiny_cfg, encoder_cache=str(folder)).encode_clips(batch)
    (data,) = folder.glob("*.bf16")
    data.write_bytes(data.read_bytes()[:-100])
    assert len(_model(tiny_cfg, encoder_cache=str(folder)).frame_cache) == 2


def test_a_cache_of_a_training_encoder_is_refused(tiny_cfg):
    with pytest.raises(VTBError, match="encoder_cache"):
        VoiceTextBlender(tiny_cfg(encoder_cache=True))
