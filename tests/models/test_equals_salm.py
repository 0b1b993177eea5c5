"""On an audio-only batch ours and stock SALM have the same loss and the same gradients."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

AUDIO_TAG = "<|audio|>"


@pytest.fixture(scope="module")
def own_padding(tiny_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that pads with a token of its own; stock SALM hides every token equal to the padding."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("own_padding")
    tokenizer = AutoTokenizer.from_pretrained(tiny_llm)
    tokenizer.pad_token = "<reponame>"
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def batch(own_padding: Path, conversation: Callable, clips: list[SimpleNamespace]) -> dict[str, Any]:
    """Conversations of unlike length, one with two clips, with the ids and masks of NeMo's own prompt formatter."""
    from lhotse import CutSet
    from nemo.collections.common.prompts import PromptFormatter
    from nemo.collections.common.tokenizers import AutoTokenizer
    from nemo.collections.speechlm2.data import SALMDataset

    tokenizer = AutoTokenizer(str(own_padding), use_fast=True)
    tokenizer.add_special_tokens({"additional_special_tokens": [AUDIO_TAG]})
    made = [
        conversation("one", ("user", clips[0].path), ("assistant", clips[0].text)),
        conversation("two", ("user", clips[1].path), ("user", "or"), ("user", clips[2].path), ("assistant", "Both.")),
        conversation("three", ("user", "Write what you hear."), ("user", clips[3].path), ("assistant", clips[3].text)),
    ]
    for each in made:
        each.apply_prompt_format(PromptFormatter.resolve("qwen")(tokenizer))
    return SALMDataset(tokenizer)[CutSet(made)]


def test_loss_and_gradients_equal_stock_salm(tiny_cfg: Callable, own_padding: Path, batch: dict[str, Any]):
    from nemo.collections.speechlm2.models import SALM

    from nemo_vtb import VoiceTextBlender

    cfg = tiny_cfg(tokenizer_path=str(own_padding))
    torch.manual_seed(0)
    ours, stock = VoiceTextBlender(cfg), SALM(cfg)
    for name, parameter in ours.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    stock.load_state_dict(ours.state_dict())
    # Stock SALM freezes only here.
    stock.configure_optimizers()
    assert (batch["input_ids"] == ours.text_pad_id).any() and ours.text_pad_id == stock.text_pad_id
    loss, gradients = _gradients(ours, batch)
    stock_loss, stock_gradients = _gradients(stock, batch)
    assert loss == pytest.approx(stock_loss, abs=1e-5) and loss > 1
    assert gradients.keys() == stock_gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, stock_gradients[name], rtol=0.0, atol=1e-5, msg=name)
    for part in ("lora_A", "lora_B", "perception.encoder", "perception.modality_adapter", "perception.proj"):
        assert any(part in name and gradient.abs().max() > 1e-3 for name, gradient in gradients.items()), part


def _gradients(model: Any, batch: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor]]:
    loss = model.training_step(batch, 0)["loss"]
    loss.backward()
    return float(loss), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
