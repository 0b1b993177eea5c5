"""Cutting and joining tensors, and LoRA's way between the fused matrices and Hugging Face's."""

from types import SimpleNamespace

import pytest
import torch

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.megatron.convert import (
    from_hugging_face,
    lora_from_hugging_face,
    lora_to_hugging_face,
    names_to_hugging_face,
    to_hugging_face,
)
from nemo_vtb.modules.megatron.cut import Cut, cut_of, fused_rows, joined, own_part

CONFIG = SimpleNamespace(num_attention_heads=4, num_key_value_heads=2, head_dim=8, hidden_size=32)
LAYER = "llm.base_model.model.model.layers.3"
PARTS = {
    "self_attn.q_proj": (32, 32),
    "self_attn.k_proj": (32, 16),
    "self_attn.v_proj": (32, 16),
    "self_attn.o_proj": (32, 32),
    "mlp.gate_proj": (32, 48),
    "mlp.up_proj": (32, 48),
    "mlp.down_proj": (48, 32),
}


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("cut", list(Cut))
def test_the_parts_make_the_whole(cut: Cut, size: int):
    whole = torch.randn(24, 12)
    parts = [own_part(whole, cut, rank, size) for rank in range(size)]
    assert torch.equal(joined(parts, cut), whole)
    assert cut is Cut.WHOLE or sum(part.numel() for part in parts) == whole.numel()


def test_which_factor_is_cut():
    cuts = {name: cut_of(f"{LAYER}.mlp.{name}.default.weight") for name in ("linear_fc1.lora_A", "linear_fc1.lora_B")}
    cuts |= {"table": cut_of("embed_tokens.weight"), "proj": cut_of(f"{LAYER}.x.linear_proj.lora_A.default.weight")}
    assert list(cuts.values()) == [Cut.WHOLE, Cut.HALVES, Cut.WHOLE, Cut.COLUMNS]


def hugging_face(rank: int = 3) -> dict[str, torch.Tensor]:
    state = {"perception.proj.weight": torch.randn(4, 4)}
    for name, (into, out) in PARTS.items():
        state[f"{LAYER}.{name}.lora_A.default.weight"] = torch.randn(rank, into)
        state[f"{LAYER}.{name}.lora_B.default.weight"] = torch.randn(out, rank)
    return state


def product(state: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    return state[f"{LAYER}.{name}.lora_B.default.weight"] @ state[f"{LAYER}.{name}.lora_A.default.weight"]


def test_an_adapter_of_hugging_face_keeps_its_function_at_three_times_the_rank():
    state = hugging_face()
    fused = from_hugging_face(state, CONFIG)
    assert fused[f"{LAYER}.self_attention.linear_qkv.lora_A.default.weight"].shape == (9, 32)
    assert fused[f"{LAYER}.mlp.linear_fc1.lora_A.default.weight"].shape == (6, 32)
    rows = [product(state, f"self_attn.{part}_proj")[low:high] for part, low, high in fused_rows(CONFIG)]
    expected = torch.cat(rows)
    torch.testing.assert_close(product(fused, "self_attention.linear_qkv"), expected)
    back = to_hugging_face(fused, CONFIG)
    assert set(back) == set(state) == set(names_to_hugging_face(list(fused)))
    for name in PARTS:
        torch.testing.assert_close(product(back, name), product(state, name))


def test_settings_go_along():
    section = {"r": 3, "lora_alpha": 6, "lora_dropout": 0.1}
    fused = lora_from_hugging_face(section, [name.partition(".")[2] for name in PARTS])
    assert fused["rank_pattern"] == {"linear_qkv": 9, "linear_fc1": 6}
    assert all(alpha / fused["rank_pattern"][name] == 2 for name, alpha in fused["alpha_pattern"].items())
    rooted = lora_from_hugging_face(section | {"use_rslora": True}, ["q_proj", "k_proj", "v_proj"])
    assert rooted["alpha_pattern"]["linear_qkv"] / 9**0.5 == pytest.approx(6 / 3**0.5)
    back = lora_to_hugging_face({"r": 4, "target_modules": ["linear_qkv"], "rank_pattern": {"linear_qkv": 8}})
    assert back["rank_pattern"] == {"q_proj": 8, "k_proj": 8, "v_proj": 8}
    assert back["target_modules"] == ["q_proj", "k_proj", "v_proj"]


def test_what_stands_in_one_matrix_is_adapted_together():
    state = {name: value for name, value in hugging_face().items() if "v_proj" not in name}
    with pytest.raises(VTBError, match="adapts q_proj, k_proj and not v_proj"):
        from_hugging_face(state, CONFIG)
