"""Every preset at its real shapes, on the meta device: parameters, memory by arithmetic, what its header says."""

import json
import re
from pathlib import Path

import pytest
import torch
from omegaconf import open_dict
from torch import nn

from nemo_vtb import registry
from nemo_vtb.config import compose
from nemo_vtb.doctor import CARDS
from nemo_vtb.models.memory import inner_bytes, memory_of, shapes_of
from nemo_vtb.paths import config_dir

PUBLISHED = Path(__file__).parent / "published_llms"
LARGE_V3 = {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120}
LARGE_V3 |= {"num_mel_bins": 128, "decoder_attention_heads": 20, "vocab_size": 51866}
# Billions of weights that the LLM's makers state, millions of the speech encoder.
SIZES = {
    "canary_gemma": (2.51, 609),
    "canary_qwen3": (1.72, 810),
    "canary_qwen3_5": (0.75, 810),
    "canary_nemotron": (31.6, 810),
    "parakeet_gemma3": (1.0, 609),
    "whisper_turbo_llama3": (3.21, 637),
    "whisper_qwen2_5": (7.62, 637),
}
DENSE = ("canary_qwen3", "parakeet_gemma3", "whisper_qwen2_5")


def section(name: str):
    registry.register()
    cfg = compose("canary_gemma", [f"model={name}"]).model
    file = PUBLISHED / f"{name}.json"
    with open_dict(cfg):
        if file.is_file():
            cfg.llm_config = json.loads(file.read_text())
        if "whisper" in name:
            cfg.perception.encoder.config = {**LARGE_V3, "model_type": "whisper"}
    return cfg


def test_every_preset_is_looked_at():
    shipped = {path.stem for path in (config_dir() / "model").glob("*.yaml")}
    # The quickstart's, and the way another LLM is cut over ranks.
    assert shipped - {"smollm2_whisper", "megatron"} == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_builds_at_its_real_shapes_and_its_header_says_what_it_takes(name: str):
    cfg = section(name)
    llm, embed_tokens, perception = shapes = shapes_of(cfg)
    found = memory_of(cfg, shapes=shapes)
    header = (config_dir() / "model" / f"{name}.yaml").read_text()
    said = re.search(r"([\d.]+) GB stand; (.+)", header)
    assert said, header[:600]
    assert float(said[1]) == round(found.standing / 1e9, 1)
    cards = {int(card): value for card, value in re.findall(r"(\d+) GB: ([^,\s]+)", said[2])}
    fits = {card: found.batch_tokens(card) for card in CARDS}
    assert cards == {card: str(count) if count else "no" for card, count in fits.items()}
    whole = nn.ModuleDict({"llm": llm, "table": embed_tokens, "perception": perception})
    parts = list(whole.named_parameters())
    assert {parameter.device.type for _, parameter in parts} == {"meta"}
    billions, millions = SIZES[name]
    base = sum(p.numel() for n, p in parts if "lora_" not in n and not n.startswith("perception"))
    assert base / 1e9 == pytest.approx(billions, rel=0.02)
    assert sum(p.numel() for p in perception.encoder.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
    assert found.trained + found.frozen == sum(p.numel() for _, p in parts)


@pytest.mark.parametrize("name", DENSE)
def test_arithmetic_bounds_what_autograd_keeps_of_a_layer(name: str):
    """Saved tensors of a forward pass without recomputation, counted by storage, no attention matrix among them."""
    cfg = section(name)
    with open_dict(cfg):
        cfg.attn_implementation = "sdpa"
    llm, _, _ = shapes_of(cfg)
    length = 32
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    hidden = torch.empty(1, length, llm.config.hidden_size, dtype=torch.bfloat16)
    layer = next(part for part in llm.modules() if isinstance(part, nn.ModuleList))[0]
    # Autocast knows no meta device; this one layer is given memory, and no values.
    layer.to_empty(device="cpu")
    own = {parameter.untyped_storage()._cdata for parameter in layer.parameters()}
    mask = torch.empty(1, 1, length, length, dtype=torch.bool)
    turns = torch.empty(1, length, layer.self_attn.head_dim, dtype=torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = layer(hidden, attention_mask=mask, position_embeddings=(turns, turns))
    assert (states if isinstance(states, torch.Tensor) else states[0]).shape == hidden.shape
    saved = sum(kept.values()) / length
    bound = inner_bytes(layer, llm.config)
    assert saved < bound < 3 * saved, (saved, bound)


def test_the_guide_says_what_the_headers_say():
    guide = (config_dir().parent / "tutorials" / "models.md").read_text()
    for name in SIZES:
        header = (config_dir() / "model" / f"{name}.yaml").read_text()
        standing = re.search(r"([\d.]+) GB stand", header)[1]
        cells = [f"{int(v):,}" if v.isdecimal() else v for v in re.findall(r"\d+ GB: ([^,\s]+)", header)]
        row = next(line for line in guide.splitlines() if line.startswith(f"| `{name}` |"))
        assert row.endswith(f"| {standing} GB | {' | '.join(cells)} |")
