"""Somebody's text that holds the audio placeholder asks stock NeMo for a clip that is not there."""

from typing import Any

import pytest

_SAID = "What does <|audio|> mean?"


def _placeholders(input_ids: Any, tokenizer: Any) -> int:
    return int((input_ids == tokenizer.token_to_id("<|audio|>")).sum())


def test_stock_finds_a_placeholder_without_a_clip(conversation: Any, tokenizer: Any):
    import torch
    from nemo.collections.common.data.prompt_fn import apply_prompt_format_fn
    from nemo.collections.common.prompts import PromptFormatter
    from nemo.collections.speechlm2.models.salm import replace_placeholders_and_build_targets

    chat = conversation("c", ("user", _SAID), ("assistant", "a tag"))
    encoded = apply_prompt_format_fn(chat, PromptFormatter.resolve("qwen")(tokenizer))
    ids = encoded["input_ids"][None]
    assert _placeholders(ids, tokenizer) == 1 and not chat.list_cuts()
    with pytest.raises(IndexError):
        replace_placeholders_and_build_targets(
            input_ids=ids,
            embeds=torch.zeros(*ids.shape, 4),
            padding_id=0,
            placeholder_id=tokenizer.token_to_id("<|audio|>"),
            replacements=[],
            target_ids=ids,
        )


def test_ours_reads_it_as_text(conversation: Any, tokenizer: Any):
    from nemo_vtb.data.dataset import VTBDataset

    batch = VTBDataset(tokenizer, "qwen", "<|audio|>")[[conversation("c", ("user", _SAID), ("assistant", "a tag"))]]
    assert _placeholders(batch["input_ids"], tokenizer) == 0 and not len(batch["audios"])
    assert "< |audio|>" in tokenizer.ids_to_text(batch["encoded"][0].input_ids.tolist())
    assert batch["loss_mask"].any()


def test_beside_a_clip_each_keeps_its_place(conversation: Any, tokenizer: Any, clip: Any):
    from nemo_vtb.data.dataset import VTBDataset

    chat = conversation("c", ("user", _SAID), ("user", clip.path), ("assistant", "<|audio|>"))
    batch = VTBDataset(tokenizer, "qwen", "<|audio|>")[[chat]]
    assert _placeholders(batch["input_ids"], tokenizer) == 1 == len(batch["audios"])
