"""Two ways to keep the LLM's text: LoRA gated by audio, and KL to the untouched LLM."""

import numpy as np
import pytest
import torch

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.errors import VTBError
from nemo_vtb.models.step.divergences import text_divergence
from nemo_vtb.models.voice_text_blender import VoiceTextBlender
from nemo_vtb.parts.pack import plan_packing
from nemo_vtb.parts.prompts.turn_mask import EncodedConversation
from nemo_vtb.parts.text_retention import divergences, speech_gate, text_positions


def _model(cfg, **overrides):
    torch.manual_seed(0)
    model = VoiceTextBlender(cfg(adapter="vtb", **overrides))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def batch(tokenizer, conversation, clip):
    text = conversation("t", ("user", "Name a colour."), ("assistant", "Blue."), kind="text")
    spoken = conversation("s", ("user", "Write:"), ("user", clip.path), ("assistant", clip.text), kind="asr")
    return VTBDataset(tokenizer, "qwen")[[text, spoken, text]]


def _hidden(model, batch):
    frames, counts = model.encode_clips(batch)
    embeds, layout = model.embed_packed(batch["encoded"], frames, counts, None)
    return model.hidden_states(embeds, layout), layout


def test_gated_text_runs_the_untouched_llm_bit_for_bit(tiny_cfg, batch):
    model = _model(tiny_cfg, text_lora="audio_gated").eval()
    with torch.no_grad():
        gated, layout = _hidden(model, batch)
        with model.backbone.without_lora():
            base, _ = _hidden(model, batch)
    on_text = torch.from_numpy(text_positions(layout))
    on_speech = torch.from_numpy(np.flatnonzero(speech_gate(layout)))
    gated, base = gated.flatten(0, 1), base.flatten(0, 1)
    assert torch.equal(gated[on_text], base[on_text])
    assert not torch.allclose(gated[on_speech], base[on_speech], atol=1e-3)
    assert len(on_text) + len(on_speech) == layout.lengths.sum()


def test_gated_lora_answers_text_like_the_untouched_llm_and_speech_unlike_it(tiny_cfg, clip):
    model = _model(tiny_cfg, text_lora="audio_gated").eval()
    text = [{"role": "user", "content": "Name a colour."}]
    spoken = [{"role": "user", "content": "Write <|audio|>", "audio": [str(clip.path)]}]
    together = model.generate([text, spoken], max_new_tokens=8)
    with model.backbone.without_lora():
        base = model.generate([text, spoken], max_new_tokens=8)
    assert torch.equal(together[0], base[0])
    assert not torch.equal(together[1], base[1])


def test_in_training_gated_lora_learns_from_text_too(tiny_cfg, batch):
    model = _model(tiny_cfg, text_lora="audio_gated")
    frames, counts = model.encode_clips(batch)
    losses, _, layout, _ = model.compute_losses(batch, frames, counts)
    losses[torch.from_numpy(~layout.has_audio[layout.target_owner])].sum().backward()
    assert all(p.grad is not None and p.grad.any() for n, p in model.named_parameters() if "lora_A" in n)


def test_text_kl_is_the_divergence_from_the_untouched_llm(tiny_cfg, batch):
    model = _model(tiny_cfg, text_kl=1.0)
    frames, counts = model.encode_clips(batch)
    *_, layout, hidden = model.compute_losses(batch, frames, counts)
    divergence = text_divergence(model, batch, hidden, layout).mean
    positions = torch.from_numpy(text_positions(layout))
    with torch.no_grad():
        tuned = model.backbone.project(hidden.flatten(0, 1)[positions]).log_softmax(-1)
        with model.backbone.without_lora():
            base = model.backbone.project(_hidden(model, batch)[0].flatten(0, 1)[positions]).log_softmax(-1)
        expected = torch.nn.functional.kl_div(tuned, base, log_target=True, reduction="sum") / len(positions)
    assert divergence.item() == pytest.approx(expected.item(), rel=1e-4)
    divergence.backward()
    assert all(p.grad is not None and p.grad.any() for n, p in model.named_parameters() if "lora_A" in n)


def test_text_kl_of_a_batch_without_text_is_zero_with_a_gradient(tiny_cfg, tokenizer, conversation, clip):
    spoken = conversation("s", ("user", clip.path), ("assistant", clip.text), kind="asr")
    batch = VTBDataset(tokenizer, "qwen")[[spoken]]
    model = _model(tiny_cfg, text_kl=1.0)
    frames, counts = model.encode_clips(batch)
    *_, layout, hidden = model.compute_losses(batch, frames, counts)
    divergence, compared = text_divergence(model, batch, hidden, layout)
    assert divergence.item() == 0.0 and not compared
    divergence.backward()


def test_what_a_step_does_not_compare_is_not_logged_as_zero(tiny_cfg, tokenizer, conversation, clip):
    model = _model(tiny_cfg, text_kl=1.0, spoken_kl=1.0, alignment={"weight": 1.0})
    spoken = conversation("s", ("user", clip.path), ("assistant", clip.text), kind="asr")
    spoken.turns[0].text = clip.text
    written = conversation("t", ("user", "Name a colour."), ("assistant", "Blue."), kind="text")
    for one, logged in ((spoken, {"loss_alignment"}), (written, {"text_kl"})):
        _, _, stats = model._joint_loss(VTBDataset(tokenizer, "qwen")[[one]])
        assert {"loss_alignment", "text_kl", "spoken_kl"} & set(stats) == logged


def test_divergences_in_chunks_equal_one_chunk():
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50)
    tuned, base = torch.randn(10, 8, requires_grad=True), torch.randn(10, 8)
    whole = divergences(tuned, base, head, chunk=100)
    torch.testing.assert_close(divergences(tuned, base, head, chunk=3), whole)
    assert (whole > 0).all()
    torch.testing.assert_close(divergences(base, base, head), torch.zeros(10), atol=1e-6, rtol=0)


def test_positions_of_text_and_speech_share_nothing():
    turn = EncodedConversation(np.array([5, 6, 7]), np.array([False, True, True]))
    heard = EncodedConversation(np.array([5, 9, 7]), np.array([False, False, True]))
    layout = plan_packing([turn, heard, turn], [4], placeholder_id=9, row_tokens=6)
    gate = np.flatnonzero(speech_gate(layout))
    assert not set(text_positions(layout)) & set(gate)
    assert (len(text_positions(layout)), len(gate)) == (6, 6)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [({"text_lora": "sometimes"}, "text_lora"), ({"text_lora": "audio_gated", "lora": None}, "text_lora"),
     ({"text_kl": 1.0, "lora": None}, "text_kl")],
)  # fmt: skip
def test_impossible_settings_are_refused_by_key(tiny_cfg, overrides, key):
    with pytest.raises(VTBError, match=key):
        VoiceTextBlender(tiny_cfg(**overrides))
