"""SmolLM2 pads with its end-of-turn token. SALM finds padding by value, so the end of every answer loses its loss."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch


@pytest.fixture(scope="module")
def two_conversations(tokenizer: Any, conversation: Callable, clip: SimpleNamespace) -> list[Any]:
    """A short text one and a longer one with audio, so that the batch has padding."""
    from nemo.collections.common.prompts import PromptFormatter

    made = [
        conversation("t", ("user", "Hi."), ("assistant", "Hello!")),
        conversation("a", ("user", "Please write down:"), ("user", clip.path), ("assistant", clip.text)),
    ]
    formatter = PromptFormatter.resolve("qwen")(tokenizer)
    return [each.apply_prompt_format(formatter) for each in made]


@pytest.fixture(scope="module")
def stock_batch(tokenizer: Any, two_conversations: list[Any]) -> dict[str, Any]:
    from lhotse import CutSet
    from nemo.collections.speechlm2.data import SALMDataset

    return SALMDataset(tokenizer)[CutSet(two_conversations)]


def test_the_tokenizer_has_the_trap(tokenizer: Any):
    assert tokenizer.pad == tokenizer.eos == tokenizer.token_to_id("<|im_end|>")


def test_stock_masks_the_end_of_turn_out(tokenizer: Any, stock_batch: dict[str, Any]):
    from nemo.collections.speechlm2.models.salm import replace_placeholders_and_build_targets

    ids = stock_batch["input_ids"]
    asked = ids.where(stock_batch["loss_mask"], -100)
    assert (asked == tokenizer.eos).sum(dim=1).tolist() == [1, 1]
    _, targets, attended = replace_placeholders_and_build_targets(
        input_ids=ids,
        embeds=torch.zeros(*ids.shape, 4),
        padding_id=tokenizer.pad,
        placeholder_id=tokenizer.token_to_id("<|audio|>"),
        replacements=[torch.ones(3, 4)],
        target_ids=asked,
    )
    assert not (targets == tokenizer.eos).any()
    assert (targets != -100).sum() == (asked != -100).sum() - 2
    # Nor can any later token look at the end of an earlier turn.
    assert attended[0].sum() == (ids[0] != tokenizer.pad).sum()


@pytest.mark.parametrize("of", ["our dataset", "the stock dataset"])
def test_ours_learns_the_end_of_turn(
    of: str, tiny_cfg: Callable, tokenizer: Any, two_conversations: list[Any], stock_batch: dict[str, Any]
):
    from nemo_vtb import VoiceTextBlender, VTBDataset

    batch = stock_batch if of == "the stock dataset" else VTBDataset(tokenizer, "qwen")[two_conversations]
    model = VoiceTextBlender(tiny_cfg())
    with torch.no_grad():
        losses, _, layout, _ = model.compute_losses(batch, *model.encode_clips(batch))
    assert len(losses) == len(layout.targets) == int(batch["loss_mask"].sum())
    ends = layout.targets == tokenizer.eos
    assert sorted(layout.target_owner[ends].tolist()) == [0, 1]
    assert bool((losses[torch.from_numpy(ends)] > 0).all())
    # Padding is none of a conversation's positions.
    placeholders = int((batch["input_ids"] == model.audio_locator_tag_id).sum())
    unpadded = sum(len(each.input_ids) for each in two_conversations)
    assert len(layout.token_ids) == unpadded - placeholders
