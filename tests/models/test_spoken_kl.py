"""``model.spoken_kl``: a spoken turn is distilled from its own text, with LoRA off as the teacher."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lhotse import CutSet

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.errors import VTBError
from nemo_vtb.models.step.divergences import spoken_divergence
from nemo_vtb.models.voice_text_blender import VoiceTextBlender
from nemo_vtb.parts.prompts.turn_mask import EncodedConversation


def _model(cfg, spread=0.2, **overrides):
    torch.manual_seed(0)
    model = VoiceTextBlender(cfg(adapter="vtb", spoken_kl=1.0, **overrides))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=spread)
    return model


@pytest.fixture
def spoken(conversation, clips):
    """Makes a conversation whose clips have their words."""

    def make(name, *turns, kind="mixed"):
        texts = {str(clip.path): clip.text for clip in clips}
        made = conversation(name, *turns, kind=kind)
        for turn in made.turns:
            if hasattr(turn, "cut"):
                turn.text = texts[turn.cut.recording.sources[0].source]
        return made

    return make


@pytest.fixture
def conversations(spoken, clips):
    """The instruction before the clip, behind it, two turns with a clip each, and kinds that are not distilled."""
    one, other = clips[:2]
    answer = ("assistant", "Fine, thank you.")
    return [
        spoken("first", ("user", "Answer this:"), ("user", one.path), answer),
        spoken("behind", ("user", other.path), ("user", "What does it mean?"), answer, kind="sqa"),
        spoken("turns", ("user", one.path), answer, ("user", "And this?"), ("user", other.path), answer),
        spoken("written", ("user", "Name a colour."), ("assistant", "Blue."), kind="text"),
        spoken("words", ("user", "Write:"), ("user", one.path), ("assistant", one.text), kind="asr"),
    ]


def _divergence(model, batch):
    frames, counts = model.encode_clips(batch)
    *_, layout, hidden = model.compute_losses(batch, frames, counts)
    return spoken_divergence(model, batch, hidden, layout).mean


def test_a_batch_knows_what_would_be_read(tokenizer, conversations, clips):
    batch = VTBDataset(tokenizer, "qwen")[conversations]
    read = [None if twin is None else tokenizer.ids_to_text(twin.input_ids.tolist()) for twin in batch["written"]]
    assert read[3] is None and read[4] is None, "nothing is spoken, or the answer is the transcript"
    assert f"Answer this: {clips[0].text}" in read[0] and f"{clips[1].text} What does it mean?" in read[1]
    for twin, heard in zip(batch["written"][:3], batch["encoded"], strict=False):
        assert twin.input_ids[twin.loss_mask].tolist() == heard.input_ids[heard.loss_mask].tolist()


@pytest.mark.parametrize("place", [0, 1])
def test_it_is_zero_where_the_student_is_the_teacher_given_the_text(tiny_cfg, tokenizer, conversations, place):
    model = _model(tiny_cfg, spread=0.0)
    batch = VTBDataset(tokenizer, "qwen")[conversations[place : place + 1]]
    (heard,), (read,) = batch["encoded"], batch["written"]
    # What is heard are the very embeddings of the words that the teacher reads, with those around them.
    start = int(np.argmax(heard.input_ids == model.audio_locator_tag_id))
    start = min(start, int(np.argmin(read.input_ids[: start + 1] == heard.input_ids[: start + 1])))
    rest = heard.input_ids[::-1] == np.resize(read.input_ids[::-1], len(heard.input_ids))
    behind = int(np.argmin(rest))
    end = len(read.input_ids) - behind
    tag = [model.audio_locator_tag_id]
    student = EncodedConversation(
        np.concatenate([read.input_ids[:start], tag, read.input_ids[end:]]),
        np.concatenate([read.loss_mask[:start], [False], read.loss_mask[end:]]),
    )
    frames = model.backbone.embed(torch.from_numpy(read.input_ids[start:end]))
    batch = {**batch, "encoded": [student]}
    *_, layout, hidden = model.compute_losses(batch, frames, [end - start])
    assert layout.lengths[0] == len(read.input_ids)
    assert spoken_divergence(model, batch, hidden, layout).mean.item() == pytest.approx(0.0, abs=1e-6)
    # It is not for want of positions: with another LoRA it is not zero.
    other = _model(tiny_cfg)
    *_, layout, hidden = other.compute_losses(batch, frames, [end - start])
    assert spoken_divergence(other, batch, hidden, layout).mean.item() > 1e-3


def test_it_is_the_divergence_at_the_positions_of_the_answers(tiny_cfg, tokenizer, conversations):
    model = _model(tiny_cfg)
    batch = VTBDataset(tokenizer, "qwen")[conversations]
    frames, counts = model.encode_clips(batch)
    *_, layout, hidden = model.compute_losses(batch, frames, counts)
    value = spoken_divergence(model, batch, hidden, layout).mean
    expected, count = 0.0, 0
    with torch.no_grad():
        for index, twin in enumerate(batch["written"][:3]):
            # Alone, through the LLM itself, without packing.
            with model.backbone.without_lora():
                logits = model.llm(inputs_embeds=model.backbone.embed(torch.from_numpy(twin.input_ids)[None])).logits[0]
            base = logits[np.flatnonzero(twin.loss_mask) - 1].log_softmax(-1)
            mine = torch.from_numpy(layout.predict_from[layout.target_owner == index])
            tuned = model.backbone.project(hidden.flatten(0, 1)[mine]).log_softmax(-1)
            expected += (base.exp() * (base - tuned)).sum().item()
            count += len(base)
    assert value.item() == pytest.approx(expected / count, rel=1e-4)


def test_only_lora_and_what_listens_learn_from_it(tiny_cfg, tokenizer, conversations):
    model = _model(tiny_cfg)
    _divergence(model, VTBDataset(tokenizer, "qwen")[conversations]).backward()
    learnt = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert learnt and all(".lora_" in name or name.startswith("perception.") for name in learnt)
    assert any("lora_A" in name for name in learnt) and any("modality_adapter" in name for name in learnt)


def test_packed_conversations_give_what_each_gives_apart(tiny_cfg, tokenizer, conversations):
    model = _model(tiny_cfg).eval()
    dataset = VTBDataset(tokenizer, "qwen")
    values = {}
    for packing, row_tokens in (("together", 0), ("together", 64), ("apart", 0)):
        model.options = replace(model.options, row_tokens=row_tokens)
        model.backbone.packing = packing
        values[packing, row_tokens] = _divergence(model, dataset[conversations]).item()
    alone = [_divergence(model, dataset[[one]]).item() for one in conversations[:3]]
    answers = [int(dataset.encode(one).loss_mask.sum()) for one in conversations[:3]]
    assert list(values.values()) == pytest.approx([np.average(alone, weights=answers)] * 3, rel=1e-4)


def test_a_step_logs_it_and_adds_it_to_the_loss(tiny_cfg, tokenizer, conversations):
    batch = VTBDataset(tokenizer, "qwen")[conversations]
    losses = {}
    for weight in (0.0, 0.5):
        model = _model(tiny_cfg)
        model.cfg.spoken_kl = weight
        losses[weight], _, stats = model._joint_loss(batch)
        assert ("spoken_kl" in stats) == bool(weight)
    assert (losses[0.5] - losses[0.0]).item() == pytest.approx(0.5 * stats["spoken_kl"].item(), rel=1e-4)


def test_a_batch_without_speech_gives_zero_with_a_gradient(tiny_cfg, tokenizer, conversations):
    value = _divergence(_model(tiny_cfg), VTBDataset(tokenizer, "qwen")[conversations[3:4]])
    assert value.item() == 0.0
    value.backward()


def test_words_that_are_not_known_are_said_once(tiny_cfg, tokenizer, conversation, conversations, clip, caplog):
    nameless = conversation("nameless", ("user", clip.path), ("assistant", "Yes."), kind="mixed")
    batch = VTBDataset(tokenizer, "qwen")[[nameless, conversations[0]]]
    assert batch["written"][0] is None
    model = _model(tiny_cfg)
    with caplog.at_level(logging.WARNING, logger="nemo_logger"):
        logging.getLogger("nemo_logger").addHandler(caplog.handler)
        try:
            both = _divergence(model, batch)
            _divergence(model, batch)
        finally:
            logging.getLogger("nemo_logger").removeHandler(caplog.handler)
    said = {record.message for record in caplog.records if "spoken_kl" in record.message}
    assert len(said) == 1 and "nameless" in said.pop()
    assert both.item() > 0


def test_batches_and_settings_that_cannot_be_distilled_are_refused(tiny_cfg, tokenizer, conversations):
    model, batch = _model(tiny_cfg), VTBDataset(tokenizer, "qwen")[conversations[:1]]
    stock = {key: value for key, value in batch.items() if key != "written"}
    with pytest.raises(VTBError, match=r"model\.spoken_kl needs to know what is spoken"):
        _divergence(model, stock)
    twin = batch["written"][0]
    other = {**batch, "written": [EncodedConversation(twin.input_ids[:-2], twin.loss_mask[:-2])]}
    with pytest.raises(VTBError, match=r"first: its answer has other tokens"):
        _divergence(model, {**other, "conversations": CutSet(list(batch["conversations"]))})
    with pytest.raises(VTBError, match=r"model\.spoken_kl needs an untouched LLM"):
        VoiceTextBlender(tiny_cfg(spoken_kl=1.0, lora=None))


def test_the_turns_that_speak_makes_are_distilled(tiny_cfg, tokenizer, clips, tmp_path: Path):
    import json

    from nemo_vtb.data.sources.source import Reading, open_source

    bank = [{"text": c.text, "audio_filepath": str(c.path), "duration": c.duration, "voice": "v"} for c in clips]
    chat = {"id": "chat", "conversations": [
        {"from": "User", "type": "text", "value": f"Please explain. {clips[1].text.rstrip('.')}."},
        {"from": "Assistant", "type": "text", "value": "It says so."},
    ]}  # fmt: skip
    for name, rows in (("bank", bank), ("chats", [chat])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    entry = {"type": "multimodal_conversation", "manifest_filepath": str(tmp_path / "chats.jsonl"),
             "speak": {"bank": str(tmp_path / "bank.jsonl"), "variants": 1}}  # fmt: skip
    source = open_source(entry, "mixed", Reading("<|audio|>", 0.08))
    batch = VTBDataset(tokenizer, "qwen")[[source.draw(index, 0) for index in range(len(source))]]
    read = tokenizer.ids_to_text(batch["written"][0].input_ids.tolist())
    assert f"Please explain. {clips[1].text.rstrip('.')}." in read
    assert _divergence(_model(tiny_cfg), batch).item() > 0
