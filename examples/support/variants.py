"""What ``examples/support_matrix_adapters.py`` tries: settings of LoRA and of the base's precision, speech encoders."""

from typing import Any

from support.tiny import WHISPER

# Fields of model.lora (or other keys of model, with a point), and what the LLM must be for it.
ADAPTERS: dict[str, dict[str, Any]] = {
    "LoRA, all-linear": {},
    "LoRA, list of modules": {"target_modules": ["q_proj", "v_proj", "down_proj"]},
    "LoRA, regular expression": {"target_modules": r".*layers\.1\..*(q|v)_proj"},
    "LoRA, gated by audio": {".text_lora": "audio_gated"},
    "rsLoRA": {"use_rslora": True},
    "DoRA": {"use_dora": True},
    "PiSSA": {"init_lora_weights": "pissa"},
    "PiSSA with modules_to_save: norm": {"init_lora_weights": "pissa", "modules_to_save": ["norm"]},
    "PiSSA, fast, with rsLoRA, gated": {
        "init_lora_weights": "pissa_niter_4",
        "use_rslora": True,
        ".text_lora": "audio_gated",
    },
    "OLoRA": {"init_lora_weights": "olora"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "gaussian": {"init_lora_weights": "gaussian"},
    "rank_pattern, alpha_pattern": {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"v_proj": 2}},
    "both patterns with rsLoRA": {
        "use_rslora": True,
        "rank_pattern": {"q_proj": 8},
        "alpha_pattern": {"v_proj": 2},
    },
    "layers_to_transform": {"target_modules": ["q_proj"], "layers_to_transform": [1]},
    "exclude_modules": {"exclude_modules": ["k_proj"]},
    "lora_bias": {"lora_bias": True, "target_modules": ["q_proj", "v_proj"]},
    "bias: all": {"bias": "all"},
    "bias: lora_only": {"bias": "lora_only"},
    "modules_to_save: norm": {"modules_to_save": ["norm"]},
    "modules_to_save: lm_head, untied": {"modules_to_save": ["lm_head"], "llm": {"tie_word_embeddings": False}},
    "LoRA on lm_head, untied": {"target_modules": ["q_proj", "lm_head"], "llm": {"tie_word_embeddings": False}},
    "target_parameters (experts)": {"target_parameters": ["mlp.experts.gate_up_proj"], "family": "qwen3_moe"},
    "LoRA on the speech encoder": {".encoder_lora": {"r": 4, "lora_alpha": 8}},
    "8-bit base (torchao)": {".quantization": "torchao_int8"},
    "8-bit base (bitsandbytes)": {".quantization": "bnb_8bit"},
    "4-bit base (bitsandbytes)": {".quantization": "bnb_4bit"},
    # To be refused.
    "LoRA on lm_head, tied": {"target_modules": ["q_proj", "lm_head"], "llm": {"tie_word_embeddings": True}},
    "LoRA on embed_tokens": {"target_modules": ["q_proj", "embed_tokens"]},
    "trainable_token_indices": {"trainable_token_indices": [1, 2]},
    "DoRA, gated by audio": {"use_dora": True, ".text_lora": "audio_gated"},
    "LoftQ": {"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}},
    "OLoRA on GPT-2": {"init_lora_weights": "olora", "family": "gpt2"},
    "EVA": {"init_lora_weights": "eva"},
    "CorDA": {"init_lora_weights": "corda"},
    "aLoRA": {"alora_invocation_tokens": [1, 2]},
    "QALoRA": {"use_qalora": True},
    "layer_replication": {"layer_replication": [[0, 2]]},
}
REFUSED = list(ADAPTERS)[list(ADAPTERS).index("LoRA on lm_head, tied") :]
_SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_WAVE = {**_SMALL, "conv_dim": [16] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
_MOONSHINE = {
    "hidden_size": 32, "intermediate_size": 64, "vocab_size": 64,
    "encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 1,
    "encoder_num_attention_heads": 4, "decoder_num_attention_heads": 4,
}  # fmt: skip
_VOXTRAL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
# Model type, fields of its config, feature extractor, samples a frame; None where it is to be refused.
ENCODERS: dict[str, tuple[str, dict[str, Any], str | None, int]] = {
    "Whisper, 80 bands": ("whisper", WHISPER, "WhisperFeatureExtractor", 320),
    "Whisper, 128 bands (large-v3)": ("whisper", {**WHISPER, "num_mel_bins": 128}, "WhisperFeatureExtractor", 320),
    "Voxtral": ("voxtral_encoder", {**_VOXTRAL, "num_mel_bins": 128}, "WhisperFeatureExtractor", 320),
    "wav2vec 2.0 base": ("wav2vec2", _WAVE, "Wav2Vec2FeatureExtractor", 320),
    "wav2vec 2.0 large, XLS-R": (
        "wav2vec2", {**_WAVE, "feat_extract_norm": "layer", "do_stable_layer_norm": True},
        "Wav2Vec2FeatureExtractor", 320,
    ),
    "HuBERT": ("hubert", _WAVE, "Wav2Vec2FeatureExtractor", 320),
    "WavLM": ("wavlm", _WAVE, "Wav2Vec2FeatureExtractor", 320),
    "UniSpeech": ("unispeech", _WAVE, "Wav2Vec2FeatureExtractor", 320),
    "UniSpeech-SAT": ("unispeech-sat", _WAVE, "Wav2Vec2FeatureExtractor", 320),
    "data2vec": ("data2vec-audio", {**_WAVE, "conv_pos_kernel_size": 5}, "Wav2Vec2FeatureExtractor", 320),
    "w2v-BERT 2.0": (
        "wav2vec2-bert", {**_SMALL, "feature_projection_input_dim": 160}, "SeamlessM4TFeatureExtractor", 320,
    ),
    "Parakeet (Hugging Face)": (
        "parakeet_encoder", {**_SMALL, "subsampling_conv_channels": 16}, "ParakeetFeatureExtractor", 1280,
    ),
    "Moonshine": ("moonshine", _MOONSHINE, "Wav2Vec2FeatureExtractor", 384),
    "NeMo FastConformer, .nemo": ("nemo", {}, "nemo", 1280),
    "Speech2Text": ("speech_to_text", {**WHISPER, "num_mel_bins": 80}, None, 0),
    "wav2vec 2.0 Conformer": ("wav2vec2-conformer", _WAVE, None, 0),
    "Audio Spectrogram Transformer": ("audio-spectrogram-transformer", _SMALL, None, 0),
}  # fmt: skip
