"""Tiny LLMs of every family that runs on megatron-core, with weights large enough for each layer to matter."""

from pathlib import Path

import pytest
import ranks

# Imported once, not by each rank: four seconds of each.
ranks.preload(
    "megatron.core.tensor_parallel",
    "megatron.core.transformer.attention",
    "megatron.core.transformer.transformer_layer",
    "nemo_vtb.modules.megatron.backbone",
    "nemo_vtb.modules.megatron.causal_lm",
    "transformers.models.llama.modeling_llama",
)

SIZES = {
    "vocab_size": 240,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
}
WINDOW = {"sliding_window": 8, "query_pre_attn_scalar": 24, "head_dim": 16}
ROPE = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
FAMILIES = {
    "llama": {"tie_word_embeddings": False, "rope_parameters": {**ROPE, "original_max_position_embeddings": 64}},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"tie_word_embeddings": False, "head_dim": 16},
    # As Gemma 2B has it: one head of keys and values, whatever the number of ranks.
    "gemma": {"num_key_value_heads": 1, "head_dim": 16},
    "gemma2": {**WINDOW, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 5.0},
    "gemma3_text": {**WINDOW, "num_hidden_layers": 6},
}


@pytest.fixture(scope="session")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders by family."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folders = {}
    for name, fields in FAMILIES.items():
        folders[name] = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        made = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **{**SIZES, **fields}), dtype=torch.float32)
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.data.normal_(0, 0.1)
            else:
                parameter.data.add_(torch.randn_like(parameter) * 0.2)
        made.save_pretrained(folders[name])
    return folders
