"""Clips of kind ``align`` are heard by the alignment loss and cost the LLM no position."""

import json

import pytest
import torch

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.sources.source import read_source
from nemo_vtb.errors import VTBError
from nemo_vtb.models.voice_text_blender import VoiceTextBlender


@pytest.fixture
def rows(tmp_path, clips, tokenizer):
    """One manifest read as ``asr`` and as ``align``."""
    path = tmp_path / "manifest.jsonl"
    lines = [{"audio_filepath": str(c.path), "duration": c.duration, "text": c.text, "lang": "en"} for c in clips[:2]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def read(kind):
        entry = {"type": "nemo", "manifest_filepath": str(path)}
        source = read_source(entry, kind, "<|audio|>", 0.08, encoder=VTBDataset(tokenizer, "qwen"))
        return [source.draw(index, 0) for index in range(len(source))]

    return read


def _losses(model, batch):
    frames, counts = model.encode_clips(batch)
    losses, _, layout, _ = model.compute_losses(batch, frames, counts)
    alignment = model.alignment(frames, counts, batch["transcripts"], model.backbone.embed)
    return losses, alignment, layout, len(frames)


def test_the_llm_does_not_see_aligned_clips_and_the_alignment_loss_does(tiny_cfg, tokenizer, rows):
    torch.manual_seed(0)
    model = VoiceTextBlender(tiny_cfg(adapter="vtb", alignment={"weight": 1.0, "temperature": 5.0})).eval()
    dataset = VTBDataset(tokenizer, "qwen")
    asr, align = rows("asr"), rows("align")
    with torch.no_grad():
        alone = _losses(model, dataset[[asr[0]]])
        both = _losses(model, dataset[[align[1], asr[0], align[0]]])
        as_asr = _losses(model, dataset[[asr[1], asr[0], asr[0]]])
    torch.testing.assert_close(both[0], alone[0], atol=1e-5, rtol=1e-5)
    assert list(both[2].lengths) == [0, alone[2].lengths[0], 0]
    assert set(both[2].target_owner) == {1}
    torch.testing.assert_close(both[1], as_asr[1], atol=1e-5, rtol=1e-5)
    assert both[3] == as_asr[3]


def test_a_step_of_aligned_clips_alone_trains_the_adapter(tiny_cfg, tokenizer, rows):
    model = VoiceTextBlender(tiny_cfg(adapter="vtb", alignment={"weight": 1.0, "temperature": 5.0}))
    loss = model.training_step(VTBDataset(tokenizer, "qwen")[rows("align")], 0)["loss"]
    loss.backward()
    assert model.perception.modality_adapter.proj.weight.grad.any()
    assert all(p.grad is not None and not p.grad.any() for n, p in model.named_parameters() if "lora_" in n)


def test_of_aligned_clips_alone_the_llm_runs_one_token(tiny_cfg, tokenizer, rows):
    """Ranks that exchange gradients want some for LoRA at each step."""
    model = VoiceTextBlender(tiny_cfg(adapter="vtb", alignment={"weight": 1.0, "temperature": 5.0})).eval()
    with torch.no_grad():
        losses, alignment, layout, frames = _losses(model, VTBDataset(tokenizer, "qwen")[rows("align")])
    assert list(layout.lengths) == [1, 0] and not len(layout.targets) and not len(losses)
    assert frames and alignment > 0 and layout.has_audio.all()


def test_aligned_clips_are_no_text_to_keep(tiny_cfg, tokenizer, rows, conversation):
    alignment = {"weight": 1.0, "temperature": 5.0}
    model = VoiceTextBlender(tiny_cfg(adapter="vtb", alignment=alignment, text_kl=1.0))
    text = conversation("t", ("user", "Name a colour."), ("assistant", "Blue."), kind="text")
    model.training_step(VTBDataset(tokenizer, "qwen")[[*rows("align"), text]], 0)["loss"].backward()


def test_aligned_clips_without_the_alignment_loss_are_refused(tiny_cfg, tokenizer, rows):
    model = VoiceTextBlender(tiny_cfg(adapter="vtb"))
    with pytest.raises(VTBError, match=r"model\.alignment"):
        model.training_step(VTBDataset(tokenizer, "qwen")[rows("align")], 0)


@pytest.mark.parametrize("before, after", [(0, 4), (400, 4), (4, 0)])
def test_a_checkpoint_goes_on_with_another_memory_of_tokens(tiny_cfg, tokenizer, rows, before, after):
    run, resumed = (
        VoiceTextBlender(tiny_cfg(adapter="vtb", alignment={"weight": 1.0, "memory": memory}))
        for memory in (before, after)
    )
    run.training_step(VTBDataset(tokenizer, "qwen")[rows("align")], 0)
    resumed.load_state_dict(run.state_dict())
    if before and after:
        assert resumed.alignment.remembered.tolist() == run.alignment.remembered[:after].tolist()
        assert -1 not in resumed.alignment.remembered
    assert torch.equal(resumed.alignment.blank, run.alignment.blank)


def _asked(clip, **audio_turn):
    return [
        {"from": "User", "type": "text", "value": "Write down what you hear."},
        {"from": "User", "type": "audio", "value": str(clip.path), "duration": clip.duration, **audio_turn},
        {"from": "Assistant", "type": "text", "value": clip.text},
    ]


def test_the_answer_of_a_recognition_chat_is_what_its_clip_says(tmp_path, clips, tokenizer):
    """NeMo's chat rows tell no text of a clip; of two clips before one answer nobody knows which words are whose."""
    one, other = clips[:2]
    silent = dict(_asked(other)[1])
    chats = [
        _asked(one),
        _asked(one, text="said otherwise"),
        _asked(one) + _asked(other),
        [silent, *_asked(one)],
    ]
    path = tmp_path / "chats.jsonl"
    lines = (json.dumps({"id": f"chat{number}", "conversations": turns}) for number, turns in enumerate(chats))
    path.write_text("\n".join(lines), encoding="utf-8")
    dataset = VTBDataset(tokenizer, "qwen")

    def told(kind):
        entry = {"type": "multimodal_conversation", "manifest_filepath": str(path)}
        source = read_source(entry, kind, "<|audio|>", 0.08, encoder=dataset)
        transcripts = dataset[[source.draw(index, 0) for index in range(len(source))]]["transcripts"]
        return [None if ids is None else tokenizer.tokenizer.decode(ids)[1:] for ids in transcripts]

    assert told("asr") == [one.text, "said otherwise", one.text, other.text, None, None]
    assert told("sqa") == [None, "said otherwise", None, None, None, None]
