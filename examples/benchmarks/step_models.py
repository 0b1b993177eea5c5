"""The models of step_vs_salm.py: one ``model`` section that both stock SALM and ours take."""

import json
from pathlib import Path
from typing import Any

from step_mix import AUDIO_TAG

# Hugging Face config fields; the LLMs and encoders with random weights are built from these shapes.
_LLMS: dict[str, dict[str, Any]] = {
    "gemma2b": {
        "model_type": "gemma",
        "vocab_size": 256000,
        "hidden_size": 2048,
        "intermediate_size": 16384,
        "num_hidden_layers": 18,
        "num_attention_heads": 8,
        "num_key_value_heads": 1,
        "head_dim": 256,
    },
    "small": {
        "model_type": "gemma",
        "vocab_size": 32000,
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 64,
    },
    "tiny": {
        "model_type": "gemma",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 16,
    },
}
# FastConformers; Canary-1B's encoder is the first, 609M.
_ENCODERS = {
    "gemma2b": {"d_model": 1024, "n_layers": 24, "n_heads": 8, "subsampling_conv_channels": 256},
    "small": {"d_model": 128, "n_layers": 4, "n_heads": 4, "subsampling_conv_channels": 64},
    "tiny": {"d_model": 32, "n_layers": 1, "n_heads": 4, "subsampling_conv_channels": 16},
}
_LORA = {
    "task_type": "CAUSAL_LM",
    "r": 32,
    "lora_alpha": 32,
    "lora_dropout": 0.0,
    "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}


def model_section(shape: str, folder: Path, vocabulary: int | None = None) -> dict[str, Any]:
    """Writes the tokenizer and the LLM's config into ``folder`` and returns the section that names them.

    Random weights may have another vocabulary than their shape's.

    The learning rate is zero: the optimizer does its work, and every arm's loss is that of the same weights.
    """
    random = shape != "smollm2"
    _write_tokenizer(folder / "tokenizer", random)
    if random:
        (folder / "llm").mkdir()
        fields = {**_LLMS[shape], "tie_word_embeddings": True}
        fields["vocab_size"] = vocabulary or fields["vocab_size"]
        (folder / "llm" / "config.json").write_text(json.dumps(fields))
    return {
        "pretrained_llm": str(folder / "llm") if random else "smollm2-135m-instruct",
        "pretrained_asr": None if random else "whisper-base",
        "pretrained_weights": not random,
        "tokenizer_path": str(folder / "tokenizer"),
        "prompt_format": "qwen",
        "audio_locator_tag": AUDIO_TAG,
        "freeze_params": [r"^llm\..+$", r"^embed_tokens\..+$", r"^perception\.encoder\..+$"],
        "prevent_freeze_params": [],
        "lora": _LORA,
        "perception": _random_perception(shape) if random else _whisper_perception(),
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.0},
    }


def _whisper_perception() -> dict[str, Any]:
    return {
        "preprocessor": {"_target_": "nemo_vtb.modules.whisper.WhisperFeatures"},
        "encoder": {"_target_": "nemo_vtb.modules.whisper.WhisperEncoder"},
        "modality_adapter": _adapter(512, 4),
    }


def _random_perception(shape: str) -> dict[str, Any]:
    no_dropout = dict.fromkeys(("dropout", "dropout_pre_encoder", "dropout_emb", "dropout_att"), 0.0)
    encoder = _ENCODERS[shape]
    return {
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16000,
            "features": 80,
            "n_fft": 512,
            "window_size": 0.025,
            "window_stride": 0.01,
            "normalize": "per_feature",
            "dither": 0.0,
            "pad_to": 0,
        },
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": 80,
            "subsampling": "dw_striding",
            "subsampling_factor": 8,
            "conv_kernel_size": 9,
            "sync_max_audio_length": False,
            **encoder,
            **no_dropout,
        },
        "modality_adapter": _adapter(encoder["d_model"], 1),
    }


def _adapter(d_model: int, stacked: int) -> dict[str, Any]:
    return {
        "_target_": "nemo_vtb.modules.adapter.ConformerAdapter",
        "d_model": d_model,
        "n_heads": 8,
        "subsampling_factor": stacked,
        "dropout": 0.0,
        "dropout_att": 0.0,
    }


def _write_tokenizer(folder: Path, random: bool) -> None:
    """SmolLM2's tokenizer, or one that knows next to nothing; both pad with a token of its own.

    SmolLM2 pads with its end of turn, which stock SALM then takes out of the loss.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if random:
        from tokenizers import Tokenizer, models

        words = ["<pad>", "<unk>", "<|im_start|>", "<|im_end|>", AUDIO_TAG]
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")),
            pad_token="<pad>",
            unk_token="<unk>",
            eos_token="<|im_end|>",
            additional_special_tokens=["<|im_start|>", AUDIO_TAG],
        )
    else:
        from nemo_vtb.assets import resolve

        tokenizer = AutoTokenizer.from_pretrained(resolve("smollm2-135m-instruct"))
        tokenizer.pad_token = "<reponame>"
    tokenizer.save_pretrained(folder)
