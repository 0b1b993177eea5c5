"""A LoRA setting that names what the LLM or the encoder does not have is refused, where PEFT says nothing."""

import pytest
import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.models.voice_text_blender import VoiceTextBlender

LORA = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]}
NOT_THERE = [
    ({"modules_to_save": ["nrom"]}, "modules_to_save: there is no module named nrom"),
    ({"exclude_modules": ["z_proj"]}, "exclude_modules: there is no module named z_proj"),
    ({"exclude_modules": r".*z_proj"}, "exclude_modules: there is no module"),
    ({"rank_pattern": {"up_proj": 8}}, "rank_pattern: nothing that LoRA adapts is named up_proj"),
    ({"alpha_pattern": {"qproj": 8}}, "alpha_pattern: nothing"),
    ({"layers_to_transform": [0, 7]}, "layers_to_transform: LoRA adapts nothing in layer 7"),
    ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "target_parameters: there is no parameter"),
    ({"bias": "all"}, "there is no bias to train"),
    ({"target_modules": r".*embed.*"}, "embeddings cannot be adapted"),
    ({"target_modules": r".*z_proj"}, "z_proj"),
    ({"target_modules": ["lm_head"]}, "shares its weights with the embeddings"),
    ({"target_modules": ["layers"]}, "model.lora"),
]


@pytest.mark.parametrize(("lora", "said"), NOT_THERE, ids=[str(lora) for lora, _ in NOT_THERE])
def test_what_is_not_there_is_refused(tiny_cfg, lora, said):
    with pytest.raises(VTBError, match=said):
        VoiceTextBlender(tiny_cfg(lora={**LORA, **lora}))


@pytest.mark.parametrize("lora", [{"use_dora": True}, {"lora_bias": True}, {"modules_to_save": ["norm"]}])
def test_no_gate_where_lora_off_is_not_zero_for_zero(tiny_cfg, lora):
    with pytest.raises(VTBError, match=f"audio_gated cannot be used with model.lora.{next(iter(lora))}"):
        VoiceTextBlender(tiny_cfg(lora={**LORA, **lora}, text_lora="audio_gated"))


@pytest.mark.parametrize("initial", ["pissa", "olora"])
def test_modules_to_save_train_beside_a_second_adapter(tiny_cfg, initial):
    model = VoiceTextBlender(tiny_cfg(lora={**LORA, "init_lora_weights": initial, "modules_to_save": ["norm"]}))
    # PEFT takes every module whose name ends so: two of each layer beside the last.
    assert sum(name.endswith("norm.modules_to_save.default.weight") for name in model.trainable_names) == 5


def test_olora_on_layers_that_are_no_linear_ones_is_refused(build_family):
    with pytest.raises(VTBError, match=r"olora cannot be used with .*c_attn, which is of class Conv1D"):
        build_family("gpt2", lora={"init_lora_weights": "olora"})


def test_under_autocast_the_inputs_of_lora_are_not_widened(tiny_cfg):
    model = VoiceTextBlender(tiny_cfg(lora=LORA, llm_dtype="bfloat16"))
    seen = set()
    for name, part in model.llm.named_modules():
        if name.endswith("lora_A.default"):
            part.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model.backbone.hidden_states(torch.randn(1, 5, 64, dtype=torch.bfloat16), torch.arange(5)[None])
    assert seen == {torch.bfloat16}


def test_encoder_lora_trains_the_encoder_and_nothing_else_of_it(tiny_cfg):
    cfg = tiny_cfg(encoder_lora={"r": 2, "target_modules": ["linear_q"]})
    cfg["freeze_params"].append(r"^perception\.encoder\..+$")
    model = VoiceTextBlender(cfg)
    trained = [name for name in model.trainable_names if name.startswith("perception.encoder.")]
    assert len(trained) == 2 and all(".linear_q.lora_" in name for name in trained)


@pytest.mark.parametrize(
    ("encoder_lora", "said"),
    [({"target_modules": ["query"]}, "query"), ({"init_lora_weights": "pissa"}, "pissa is not supported"),
     ({"bias": "all"}, "encoder_lora.bias"), ({"lora_bias": True}, "encoder_lora.lora_bias"),
     ("r8", "model.encoder_lora is 'r8'")],
)  # fmt: skip
def test_impossible_encoder_lora_is_refused(tiny_cfg, encoder_lora, said):
    with pytest.raises(VTBError, match=said):
        VoiceTextBlender(tiny_cfg(encoder_lora=encoder_lora))


def test_an_encoder_that_lora_trains_is_not_cached(tiny_cfg):
    with pytest.raises(VTBError, match="encoder_cache"):
        VoiceTextBlender(tiny_cfg(encoder_lora={"r": 2}, encoder_cache=True))


@pytest.mark.parametrize("lora", [{"use_dora": True}, {"modules_to_save": ["norm"]}])
def test_scale_zero_is_the_untouched_llm_and_fractions_are_refused(tiny_cfg, lora):
    torch.manual_seed(0)
    model = VoiceTextBlender(tiny_cfg(lora={**LORA, **lora})).eval()
    embeds, positions = torch.randn(1, 6, 64), torch.arange(6)[None]
    with torch.no_grad():
        before = model.backbone.hidden_states(embeds, positions)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and name.startswith("llm."):
                parameter.add_(torch.randn_like(parameter) * 0.3)
        tuned = model.backbone.hidden_states(embeds, positions)
        assert not torch.allclose(tuned, before, atol=1e-2)
        with model.backbone.scaled_lora(0):
            assert torch.equal(model.backbone.hidden_states(embeds, positions), before)
        assert torch.equal(model.backbone.hidden_states(embeds, positions), tuned)
    with pytest.raises(VTBError, match="can be 0 or 1"):
        model.backbone.lora_scale = 0.5
