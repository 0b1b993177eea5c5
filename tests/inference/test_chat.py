"""A conversation of text and recordings, on a tiny random model."""

import shutil

import pytest
import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.chat import ChatSession, parse_message


@pytest.fixture(scope="module")
def model(slim_cfg):
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    torch.manual_seed(1)
    return VoiceTextBlender(slim_cfg()).eval()


def test_three_turns_of_text_and_speech(model, clips):
    session = ChatSession(model)
    session.say("Hello.", max_new_tokens=3)
    session.say(f"What is said? @{clips[0].path} And here? @{clips[1].path}", max_new_tokens=3)
    session.say(f"@{clips[2].path}", max_new_tokens=3)
    assert [turn["role"] for turn in session.turns] == ["user", "assistant"] * 3
    assert len(session.turns[2]["audio"]) == 2


def test_a_missing_recording_leaves_the_conversation_as_it_was(model):
    session = ChatSession(model)
    with pytest.raises(VTBError, match=r"no recording at gone\.wav"):
        session.say("Listen: @gone.wav")
    assert session.turns == []


def test_a_recording_of_an_earlier_turn_that_is_gone_is_named(model, clip, tmp_path):
    mine = tmp_path / "mine.wav"
    shutil.copy(clip.path, mine)
    session = ChatSession(model)
    session.say(f"@{mine}", max_new_tokens=3)
    before = list(session.turns)
    mine.write_bytes(b"no sound")
    with pytest.raises(VTBError, match=rf"cannot answer with {mine}: "):
        session.say("And now?", max_new_tokens=3)
    mine.unlink()
    with pytest.raises(VTBError, match=rf"the recording {mine} of an earlier turn is gone"):
        session.say("And now?", max_new_tokens=3)
    assert session.turns == before


@pytest.mark.parametrize("behind", ["?", ".", ",", ";", ":", "!", ")", '"', "'", '?!")', ", please."])
def test_punctuation_behind_a_recording_stays_behind_its_placeholder(clip, behind):
    found = parse_message(f"What is in (@{clip.path}{behind}", "<|audio|>")
    assert found == {"role": "user", "content": f"What is in (<|audio|>{behind}", "audio": [str(clip.path)]}


def test_an_at_sign_that_names_no_recording_is_text():
    assert parse_message("write to me@home.org", "<|audio|>") == {"role": "user", "content": "write to me@home.org"}
