"""What is exported of LoRA computes the same for a reader that knows ``W + lora_alpha / r * B A`` alone."""

import pytest
import torch

from nemo_vtb.models.voice_text_blender import VoiceTextBlender
from nemo_vtb.modules.lora.plain import join_initial, not_plain, single_scale

TARGETS = ["q_proj", "v_proj", "up_proj"]
KINDS = [
    {"use_rslora": True},
    {"rank_pattern": {"q_proj": 6}},
    {"alpha_pattern": {"v_proj": 2}},
    {"rank_pattern": {"q_proj": 6}, "alpha_pattern": {"q_proj": 3, "up_proj": 5}, "use_rslora": True},
    {"init_lora_weights": "pissa"},
    {"init_lora_weights": "olora", "use_rslora": True, "rank_pattern": {"q_proj": 6}},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_one_scale_for_all(tiny_cfg, kind):
    torch.manual_seed(0)
    model = VoiceTextBlender(tiny_cfg(lora={"r": 4, "lora_alpha": 8, "target_modules": TARGETS, **kind}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    layers = {name: part for name, part in model.llm.named_modules() if hasattr(part, "lora_A")}

    def added(name):
        return sum(layers[name].get_delta_weight(adapter) for adapter in layers[name].active_adapters)

    before = {name: added(name).detach().clone() for name in layers}
    join_initial(model.llm)
    single_scale(model.llm)
    config = model.llm.peft_config["default"]
    assert list(model.llm.peft_config) == ["default"] and not config.use_rslora
    for name, layer in layers.items():
        product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        torch.testing.assert_close(config.lora_alpha / config.r * product, before[name], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(added(name), before[name], atol=1e-5, rtol=1e-4)
        layer.set_scale("default", 1)
        torch.testing.assert_close(added(name), before[name], atol=1e-5, rtol=1e-4)


def test_plain_lora_is_left_as_it_is(tiny_cfg):
    model = VoiceTextBlender(tiny_cfg())
    assert join_initial(model.llm) is None and single_scale(model.llm) is None
    assert not_plain({"r": 4}) is None and not_plain({"use_dora": True}) == "use_dora"
