"""Stock SALM runs its speech encoder on no audio at all and crashes; joint training has text-only batches by design."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch


@pytest.fixture(scope="module")
def batches(tokenizer: Any, conversation: Callable, clips: list[SimpleNamespace]) -> dict[str, dict[str, Any]]:
    from nemo_vtb.data.dataset import VTBDataset

    text = conversation("t", ("user", "Say hello."), ("assistant", "Hello!"), kind="text")
    speech = conversation("a", ("user", clips[0].path), ("assistant", clips[0].text), kind="asr")
    blended = conversation(
        "m",
        ("user", "First:"),
        ("user", clips[1].path),
        ("assistant", clips[1].text),
        ("user", clips[2].path),
        ("user", "And now?"),
        ("assistant", "Something else."),
        kind="mixed",
    )
    dataset = VTBDataset(tokenizer, "qwen")
    made = {"text only": [text], "audio only": [speech], "mixed": [text, speech, blended]}
    return {name: dataset[conversations] for name, conversations in made.items()}


@pytest.fixture(scope="module", params=["nemo", "vtb"])
def model(request: pytest.FixtureRequest, tiny_cfg: Callable) -> Any:
    from nemo_vtb import VoiceTextBlender

    torch.manual_seed(0)
    return VoiceTextBlender(tiny_cfg(request.param))


def _gradients(model: Any, batch: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor | None]]:
    model.zero_grad(set_to_none=True)
    loss = model.training_step(batch, 0)["loss"]
    loss.backward()
    return loss.item(), {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def test_stock_salm_crashes_on_a_text_only_batch(tiny_cfg: Callable, tokenizer: Any, conversation: Callable):
    from lhotse import CutSet
    from nemo.collections.common.prompts import PromptFormatter
    from nemo.collections.speechlm2.data import SALMDataset
    from nemo.collections.speechlm2.models import SALM

    text = conversation("t", ("user", "Say hello."), ("assistant", "Hello!"))
    text.apply_prompt_format(PromptFormatter.resolve("qwen")(tokenizer))
    batch = SALMDataset(tokenizer)[CutSet([text])]
    with pytest.raises(IndexError, match="tuple index out of range"):
        SALM(tiny_cfg()).training_step(batch, 0)


@pytest.mark.parametrize("name", ["text only", "audio only", "mixed"])
def test_ours_trains_on_any_mixture(model: Any, batches: dict[str, dict[str, Any]], name: str):
    loss, gradients = _gradients(model, batches[name])
    assert torch.isfinite(torch.tensor(loss)) and loss > 0
    assert gradients.keys() == set(model.trainable_names)
    missing = [name for name, gradient in gradients.items() if gradient is None]
    assert not missing
    heard = sum(float(g.abs().sum()) for n, g in gradients.items() if n.startswith("perception."))
    assert heard > 0 if name != "text only" else heard == 0.0
    assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())
    assert sum(float(g.abs().sum()) for n, g in gradients.items() if "lora_B" in n) > 0


def test_ours_takes_the_text_only_batch_of_the_stock_dataset(model: Any, tokenizer: Any, conversation: Callable):
    from lhotse import CutSet
    from nemo.collections.common.prompts import PromptFormatter
    from nemo.collections.speechlm2.data import SALMDataset

    text = conversation("t", ("user", "Say hello."), ("assistant", "Hello!"))
    text.apply_prompt_format(PromptFormatter.resolve("qwen")(tokenizer))
    loss, gradients = _gradients(model, SALMDataset(tokenizer)[CutSet([text])])
    assert loss > 0 and None not in gradients.values()


def test_a_text_only_batch_leaves_batch_statistics_and_modes_alone(model: Any, batches: dict[str, dict[str, Any]]):
    before = {name: buffer.clone() for name, buffer in model.perception.named_buffers()}
    modes = {name: part.training for name, part in model.perception.named_modules()}
    _gradients(model, batches["text only"])
    assert modes == {name: part.training for name, part in model.perception.named_modules()} and modes[""]
    changed = [name for name, buffer in model.perception.named_buffers() if not torch.equal(buffer, before[name])]
    assert not changed


@pytest.mark.parametrize("name", ["text only", "audio only"])
def test_a_batch_without_targets_has_loss_and_gradients_of_zero(
    model: Any, batches: dict[str, dict[str, Any]], name: str
):
    from nemo_vtb.parts.prompts.turn_mask import EncodedConversation

    encoded = [EncodedConversation(e.input_ids, e.loss_mask & False) for e in batches[name]["encoded"]]
    loss, gradients = _gradients(model, {**batches[name], "encoded": encoded})
    assert loss == 0.0
    assert all(gradient is not None and not gradient.any() for gradient in gradients.values())


def test_stock_salm_has_no_loss_without_targets(
    tiny_cfg: Callable, tokenizer: Any, conversation: Callable, clips: list[SimpleNamespace]
):
    from lhotse import CutSet
    from nemo.collections.common.prompts import PromptFormatter
    from nemo.collections.speechlm2.data import SALMDataset
    from nemo.collections.speechlm2.models import SALM

    speech = conversation("a", ("user", clips[0].path), ("assistant", clips[0].text))
    speech.apply_prompt_format(PromptFormatter.resolve("qwen")(tokenizer))
    speech.mask = torch.zeros_like(speech.mask)
    loss = SALM(tiny_cfg()).training_step(SALMDataset(tokenizer)[CutSet([speech])], 0)["loss"]
    assert loss.isnan()
