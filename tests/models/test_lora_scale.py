import pytest
import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.models.voice_text_blender import VoiceTextBlender

LORA = {"task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj", "up_proj"]}


@pytest.fixture
def model(tiny_cfg):
    torch.manual_seed(0)
    model = VoiceTextBlender(tiny_cfg(lora=LORA)).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def hidden(tokenizer, conversation):
    from nemo_vtb.data.dataset import VTBDataset

    batch = VTBDataset(tokenizer, "chatml")[[conversation("t", ("user", "Hello there."), ("assistant", "Hi."))]]

    @torch.no_grad()
    def run(model):
        embeds, layout = model.embed_packed(batch["encoded"], None, [], None)
        return model.hidden_states(embeds, layout)

    return run


def test_zero_is_the_untouched_llm_bit_for_bit_and_one_is_as_trained(model, hidden):
    trained = hidden(model)
    with model.backbone.without_lora():
        untouched = hidden(model)
    assert not torch.equal(trained, untouched)
    with model.backbone.scaled_lora(0):
        assert torch.equal(hidden(model), untouched)
    assert torch.equal(hidden(model), trained)


def test_merging_keeps_to_the_scale(model, hidden):
    model.backbone.lora_scale = 0.5
    half = hidden(model)
    model.llm.merge_adapter()
    torch.testing.assert_close(hidden(model), half, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [-1, float("inf"), "much"])
def test_a_scale_that_means_nothing_is_refused(model, scale):
    with pytest.raises(VTBError, match="lora_scale is"):
        model.backbone.lora_scale = scale


def test_without_lora_there_is_nothing_to_scale(tiny_cfg):
    backbone = VoiceTextBlender(tiny_cfg(lora=None)).backbone
    backbone.lora_scale = 1.0
    with pytest.raises(VTBError, match="no LoRA"):
        backbone.lora_scale = 0.5
