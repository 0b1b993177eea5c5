"""The paper's configuration at its real shapes, without memory: 609M encoder, 52M adapter, 36M LoRA."""

import pytest
import torch
from accelerate import init_empty_weights
from omegaconf import open_dict

from nemo_vtb import registry
from nemo_vtb.config import compose
from nemo_vtb.modules.build import build_llm, build_perception, install_lora


def millions(parameters) -> float:
    return sum(p.numel() for p in parameters) / 1e6


@pytest.fixture(scope="module")
def parts():
    registry.register()
    cfg = compose("canary_gemma", []).model
    with open_dict(cfg):
        cfg.pretrained_weights = False
    with torch.device("meta"):
        llm = build_llm(cfg)
        embed_tokens = llm.model.embed_tokens
        del llm.model.embed_tokens
        llm = install_lora(llm, embed_tokens, cfg)
    # NeMo's subsampling computes a size with tensors, which the meta device cannot hand out.
    with init_empty_weights():
        perception = build_perception(cfg, llm.config.hidden_size)
    return llm, embed_tokens, perception


def test_everything_is_on_the_meta_device(parts):
    llm, _, perception = parts
    assert {p.device.type for p in [*llm.parameters(), *perception.parameters()]} == {"meta"}


def test_encoder_has_609_million(parts):
    assert millions(parts[2].encoder.parameters()) == pytest.approx(609, abs=1)


def test_adapter_has_52_million(parts):
    layers = parts[2].modality_adapter.layers
    # An input projection that the paper's count leaves out stands before NeMo's layers.
    assert millions(layers.pre_encode.parameters()) == pytest.approx(1.05, abs=0.01)
    rest = millions(parts[2].modality_adapter.parameters()) - millions(layers.pre_encode.parameters())
    assert rest == pytest.approx(52, abs=1)


def test_lora_has_36_million_in_the_papers_fused_layout(parts):
    lora = {name: p for name, p in parts[0].named_parameters() if "lora_" in name}
    assert millions(lora.values()) == pytest.approx(39.2, abs=0.1)
    # The paper's LLM fuses q, k, v and gate, up: each group has one A, here it has one per projection.
    shared = ("k_proj.lora_A", "v_proj.lora_A", "up_proj.lora_A")
    assert millions(p for name, p in lora.items() if not any(s in name for s in shared)) == pytest.approx(36, abs=0.5)


def test_gemma_has_two_and_a_half_billion(parts):
    llm, embed_tokens, _ = parts
    base = [p for name, p in llm.named_parameters() if "lora_" not in name and "lm_head" not in name]
    assert millions([*base, *embed_tokens.parameters()]) == pytest.approx(2506, abs=10)
