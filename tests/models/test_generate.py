"""Answers to several prompts at once."""

import pytest
import torch


@pytest.fixture(scope="module")
def model(slim_cfg):
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

    torch.manual_seed(1)
    return VoiceTextBlender(slim_cfg()).eval()


def test_the_frozen_head_is_not_copied_for_every_prompt(model):
    # PyTorch multiplies a strided batch of last positions with one copy of a frozen weight per row.
    prompts = [[{"role": "user", "content": text}] for text in ("One.", "Two of them.", "And three.")]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as seen:
        model.generate(prompts, max_new_tokens=2, min_new_tokens=2)
    copies = [shape for event in seen.events() if event.name == "aten::bmm" for shape in event.input_shapes]
    assert [len(prompts), model.llm.config.hidden_size, model.llm.config.vocab_size] not in copies
