"""Families of LLMs as Transformers names them, with the fields that make each tiny.

Factors, windows and kinds of layers are such that a wrong one shows: windows shorter than the conversations, factors
far from 1, a layer of each kind.
"""

from typing import Any

_HEAD = {"head_dim": 16}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_ROUTED = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1}
_LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 16}
_GROUPS = {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
_SLIDING = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
_LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "layer_types": ["linear_attention", "full_attention"],
}
_MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 32, "mamba_d_state": 8, "mamba_n_groups": 1, "mamba_chunk_size": 16}
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "patch_size": 14,
}
_QWEN_VISION = {"depth": 1, "hidden_size": 32, "embed_dim": 32, "intermediate_size": 64, "num_heads": 2}
_VISION |= {"image_size": 28}
_QWEN_VISION |= {"out_hidden_size": 64}
_AUDIO = {"d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "num_mel_bins": 80}
_AUDIO |= {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
_PER_LAYER = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 267, "num_kv_shared_layers": 0}
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
_MROPE = {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}}


def _entry(known_as: str, *, without: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    return {"known_as": known_as, "fields": fields, "without": without}


def _around(known_as: str, text: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A larger model with an LLM in it."""
    return {"known_as": known_as, "fields": {"text_config": text, **fields}, "without": ()}


LLMS: dict[str, dict[str, Any]] = {
    # dense, attention only
    "llama": _entry("Llama 2, 3; SmolLM2; Vicuna"),
    "mistral": _entry("Mistral 7B, Nemo", **_HEAD, sliding_window=8),
    "ministral": _entry("Ministral", **_HEAD, sliding_window=8),
    "qwen2": _entry("Qwen 2, 2.5"),
    "qwen3": _entry("Qwen 3", **_HEAD),
    "gemma": _entry("Gemma 1", **_HEAD),
    "gemma2": _entry("Gemma 2", **_HEAD, **_SLIDING, final_logit_softcapping=5.0, attn_logit_softcapping=5.0),
    "gemma3_text": _entry("Gemma 3 270M, 1B", **_HEAD, **_SLIDING),
    "gemma3n_text": _entry(
        "Gemma 3n", **_HEAD, **_SLIDING, **_PER_LAYER, laurel_rank=4, activation_sparsity_pattern=[0.0, 0.0]
    ),
    "gemma4_text": _entry("Gemma 4", **_HEAD, **_SLIDING, **_PER_LAYER, global_head_dim=16),
    "phi": _entry("Phi 1, 2", without=("num_key_value_heads",)),
    "phi3": _entry("Phi 3, 3.5, 4"),
    "smollm3": _entry("SmolLM 3"),
    "olmo": _entry("OLMo"),
    "olmo2": _entry("OLMo 2"),
    "olmo3": _entry("OLMo 3", **_SLIDING),
    "granite": _entry("Granite 3", logits_scaling=8.0, embedding_multiplier=12.0, residual_multiplier=0.22),
    "cohere": _entry("Command R", logit_scale=0.0625),
    "cohere2": _entry("Command A, R7B", **_SLIDING, logit_scale=0.25),
    "exaone4": _entry("EXAONE 4", **_SLIDING),
    "glm": _entry("GLM 4 9B", **_HEAD),
    "glm4": _entry("GLM 4 0414", **_HEAD),
    "nemotron": _entry("Nemotron 4, Minitron"),
    "stablelm": _entry("StableLM 2"),
    "starcoder2": _entry("StarCoder 2", sliding_window=8),
    "gpt2": _entry("GPT-2", without=("num_key_value_heads", "intermediate_size")),
    "openai-gpt": _entry("GPT", without=("num_key_value_heads", "intermediate_size")),
    "gpt_neox": _entry("Pythia", without=("num_key_value_heads",)),
    "gptj": _entry("GPT-J", without=("num_key_value_heads", "intermediate_size"), rotary_dim=8),
    "gpt_bigcode": _entry("StarCoder", without=("num_key_value_heads", "intermediate_size")),
    "opt": _entry("OPT", without=("num_key_value_heads", "intermediate_size"), ffn_dim=128, word_embed_proj_dim=64),
    "bloom": _entry("BLOOM", without=("num_key_value_heads", "intermediate_size")),
    "falcon": _entry("Falcon", without=("num_key_value_heads", "intermediate_size"), ffn_hidden_size=128, alibi=False),
    "mpt": _entry("MPT", without=("num_key_value_heads", "intermediate_size"), d_model=64, n_heads=4, n_layers=2),
    "helium": _entry("Helium", **_HEAD),
    "arcee": _entry("AFM 4.5B"),
    "apertus": _entry("Apertus"),
    "seed_oss": _entry("Seed-OSS", **_HEAD),
    "hunyuan_v1_dense": _entry("Hunyuan dense", **_HEAD),
    "ernie4_5": _entry("ERNIE 4.5 0.3B", **_HEAD),
    "nanochat": _entry("nanochat"),
    "bitnet": _entry("BitNet 2B"),
    "diffllama": _entry("DiffLlama"),
    "modernbert-decoder": _entry("Ettin decoders", without=("num_key_value_heads",), local_attention=8),
    # mixtures of experts
    "mixtral": _entry("Mixtral", **_LOCAL_EXPERTS),
    "qwen2_moe": _entry("Qwen 1.5, 2 MoE", **_EXPERTS, shared_expert_intermediate_size=32),
    "qwen3_moe": _entry("Qwen 3 MoE", **_HEAD, **_EXPERTS, output_router_logits=True),
    "olmoe": _entry("OLMoE", num_experts=4, num_experts_per_tok=2),
    "phimoe": _entry("Phi 3.5 MoE", **_LOCAL_EXPERTS),
    "granitemoe": _entry("Granite 3 MoE", **_LOCAL_EXPERTS, logits_scaling=6.0),
    "gpt_oss": _entry("GPT-OSS", **_HEAD, **_SLIDING, **_LOCAL_EXPERTS),
    "llama4_text": _entry("Llama 4", **_HEAD, num_local_experts=2, attention_chunk_size=8, intermediate_size_mlp=64),
    "deepseek_v2": _entry("DeepSeek V2", **_ROUTED, **_LATENT, **_GROUPS, num_key_value_heads=4, head_dim=16),
    "deepseek_v3": _entry(
        "DeepSeek V3, R1", **_ROUTED, **_LATENT, **_GROUPS, num_key_value_heads=4, head_dim=16
    ),
    "glm4_moe": _entry("GLM 4.5", **_HEAD, **_ROUTED, **_GROUPS),
    "ernie4_5_moe": _entry("ERNIE 4.5 MoE", moe_num_experts=4, moe_k=2, moe_intermediate_size=32),
    "hunyuan_v1_moe": _entry("Hunyuan A13B", **_HEAD, num_experts=4, moe_topk=2),
    "dots1": _entry("dots.llm1", **_HEAD, **_ROUTED, **_GROUPS),
    # a recurrent state or a short convolution beside attention, or in its place
    "qwen3_5_text": _entry("Qwen 3.5, 3.6", **_HEAD, **_LINEAR),
    "qwen3_next": _entry("Qwen 3 Next", **_HEAD, **_LINEAR, **_EXPERTS, shared_expert_intermediate_size=32),
    "lfm2": _entry("LFM 2", layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False),
    "granitemoehybrid": _entry(
        "Granite 4", **_MAMBA, **_LOCAL_EXPERTS, layer_types=["mamba", "attention"], logits_scaling=8.0,
        shared_intermediate_size=64,
    ),
    "bamba": _entry("Bamba", **_MAMBA, attn_layer_indices=[1]),
    "falcon_h1": _entry(
        "Falcon-H1", **{**_MAMBA, "mamba_d_head": 16}, mamba_d_ssm=64, embedding_multiplier=5.0, lm_head_multiplier=0.04
    ),
    "nemotron_h": _entry(
        "Nemotron-H, Nano 2, 3", **_HEAD, hybrid_override_pattern="M*", mamba_num_heads=4, mamba_head_dim=16,
        ssm_state_size=8, n_groups=1, chunk_size=16,
    ),
    "jamba": _entry(
        "Jamba", num_experts=4, num_experts_per_tok=2, attn_layer_period=2, attn_layer_offset=1, expert_layer_period=2,
        mamba_d_state=8, mamba_dt_rank=4, use_mamba_kernels=False,
    ),
    "minimax": _entry("MiniMax Text 01", **_HEAD, **_LOCAL_EXPERTS, block_size=8, layer_types=_LINEAR["layer_types"]),
    "olmo_hybrid": _entry("OLMo Hybrid", **_LINEAR),
    "mamba2": _entry("Mamba 2", without=("num_key_value_heads", "num_attention_heads", "intermediate_size"),
        state_size=8, num_heads=4, head_dim=32, n_groups=1, chunk_size=16,
    ),
    "falcon_mamba": _entry(
        "Falcon Mamba", without=("num_key_value_heads", "num_attention_heads", "intermediate_size"), state_size=8
    ),
    "zamba2": _entry(
        "Zamba 2", num_hidden_layers=4, layers_block_type=["mamba", "hybrid"] * 2, mamba_d_state=8, mamba_ngroups=1,
        n_mamba_heads=4, mamba_headdim=32, mamba_expand=2, chunk_size=16, num_mem_blocks=1, adapter_rank=4,
        attention_head_dim=32, kv_channels=16,
    ),
    "lfm2_moe": _entry(
        "LFM 2 MoE", layer_types=["conv", "full_attention"], num_experts=4, num_experts_per_tok=2,
        moe_intermediate_size=32, num_dense_layers=1,
    ),
    "recurrent_gemma": _entry(
        "RecurrentGemma", **_HEAD, lru_width=64, attention_window_size=8, block_types=["recurrent", "attention"]
    ),
    "mamba": _entry("Mamba", without=("num_key_value_heads", "num_attention_heads", "intermediate_size"), state_size=8),
    "rwkv": _entry("RWKV 4", without=("num_key_value_heads", "num_attention_heads"), attention_hidden_size=64),
    # within a model that also sees or hears
    "gemma3": _around("Gemma 3 4B and above", {**_HEAD, **_SLIDING}, vision_config=_VISION, mm_tokens_per_image=4),
    "mistral3": _around(
        "Mistral Small 3", {"model_type": "mistral", **_HEAD}, vision_config={"model_type": "pixtral", **_VISION}
    ),
    "qwen2_5_vl": _around("Qwen 2.5 VL", {**_MROPE}, vision_config=_QWEN_VISION),
    "qwen3_vl": _around(
        "Qwen 3 VL", {**_HEAD, **_MROPE}, vision_config={**_QWEN_VISION, "deepstack_visual_indexes": [0]}
    ),
    "voxtral": _around("Voxtral", {"model_type": "llama", **_HEAD}, audio_config=_AUDIO, audio_token_id=24),
    "qwen2_audio": _around("Qwen 2 Audio", {"model_type": "qwen2"}, audio_config=_AUDIO, audio_token_index=24),
    "llava": _around("LLaVA", {"model_type": "llama"}, vision_config={"model_type": "clip_vision_model", **_VISION}),
    "aya_vision": _around(
        "Aya Vision", {"model_type": "cohere2", **_SLIDING, "logit_scale": 0.25},
        vision_config={"model_type": "siglip_vision_model", **_VISION},
    ),
    "internvl": _around(
        "InternVL 3", {"model_type": "qwen2"},
        vision_config={"model_type": "internvl_vision", **_VISION, "image_size": [28, 28], "patch_size": [14, 14]},
    ),
    "granite_speech": _around(
        "Granite Speech", {"model_type": "granite", "logits_scaling": 8.0, "embedding_multiplier": 12.0},
        encoder_config={"hidden_dim": 32, "num_layers": 1, "num_heads": 2, "dim_head": 16, "output_dim": 8},
        projector_config={"model_type": "blip_2_qformer", **_VISION, "encoder_hidden_size": 32},
    ),
    # not causal LLMs
    "bart": _entry("BART", without=_SIZES, d_model=64, encoder_layers=1, decoder_layers=1),
    "bert": _entry("BERT", without=("num_key_value_heads",)),
    "t5": _entry("T5", without=(*_SIZES, "max_position_embeddings"), d_model=64, d_kv=16, d_ff=64, num_layers=1),
}  # fmt: skip

# What continuous integration tries each time: one of each kind.
SAMPLE = ("llama", "granite", "gemma4_text", "qwen3_moe", "falcon_h1", "qwen3_5_text", "gemma3", "qwen3_vl", "bert")
