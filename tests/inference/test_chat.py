"""A checkpoint round trip and a conversation of text and recordings, on a tiny random model."""

import pytest
import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.inference.chat import ChatSession, parse_message
from nemo_vtb.models.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def cfg(tiny_cfg, smollm2, tiny_llm, tmp_path_factory):
    # Weights are loaded, so that a slim checkpoint has a base to stand on; the encoder trains and is saved.
    return tiny_cfg("vtb", prompt_format="chatml", pretrained_weights=False)


@pytest.fixture(scope="module")
def checkpoint(cfg, tmp_path_factory):
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    torch.manual_seed(1)
    model = VoiceTextBlender(cfg)
    saved = {"state_dict": model.state_dict(), "hyper_parameters": {"cfg": cfg}}
    model.on_save_checkpoint(saved)
    path = tmp_path_factory.mktemp("ckpt") / "last.ckpt"
    torch.save(saved, path)
    return path, model


def test_a_checkpoint_holds_no_frozen_weight(checkpoint):
    path, model = checkpoint
    saved = torch.load(path, weights_only=True)["state_dict"]
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert saved and not frozen & set(saved)


def test_trained_weights_come_back(checkpoint):
    path, model = checkpoint
    loaded = load_checkpoint(path)
    for name in model.trainable_names:
        assert torch.equal(loaded.state_dict()[name], model.state_dict()[name])


def test_a_config_without_lora_refuses_a_lora_checkpoint(checkpoint, cfg, tmp_path):
    path, _ = checkpoint
    saved = torch.load(path, weights_only=True)
    saved["hyper_parameters"]["cfg"] = {key: value for key, value in cfg.items() if key != "lora"}
    torch.save(saved, tmp_path / "no_lora.ckpt")
    with pytest.raises(VTBError, match=r"no model\.lora"):
        load_checkpoint(tmp_path / "no_lora.ckpt")


def test_three_turns_of_text_and_speech(checkpoint, clips):
    session = ChatSession(checkpoint[1].eval())
    session.say("Hello.", max_new_tokens=3)
    session.say(f"What is said? @{clips[0].path} And here? @{clips[1].path}", max_new_tokens=3)
    session.say(f"@{clips[2].path}", max_new_tokens=3)
    assert [turn["role"] for turn in session.turns] == ["user", "assistant"] * 3
    assert len(session.turns[2]["audio"]) == 2


def test_a_missing_recording_leaves_the_conversation_as_it_was(checkpoint):
    session = ChatSession(checkpoint[1].eval())
    with pytest.raises(VTBError, match=r"no recording at gone\.wav"):
        session.say("Listen: @gone.wav")
    assert session.turns == []


def test_an_at_sign_that_names_no_recording_is_text():
    assert parse_message("write to me@home.org", "<|audio|>") == {"role": "user", "content": "write to me@home.org"}
