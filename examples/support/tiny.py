"""Tiny random LLMs and speech encoders in folders, and a model section over them. Nothing is downloaded."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

AUDIO_TAG = "<|audio|>"
CHATS = [
    [("user", "Say one."), ("assistant", "Here is one.")],
    [("user", "Colour of grass?"), ("assistant", "Green."), ("user", "And snow?"), ("assistant", "White, mostly.")],
    [("user", "Count."), ("assistant", "One two three four five.")],
]
SPOKEN = [("user", f"Transcribe. {AUDIO_TAG}"), ("assistant", "open the door")]
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
WHISPER = {
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "vocab_size"), 64),
    **{"d_model": 32, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "decoder_start_token_id": 1},
}


def tokenizer() -> Any:
    """A fast tokenizer of bytes with ChatML's tokens and template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    made = Tokenizer(models.BPE(vocab=letters, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in _SPECIAL])
    names = {"bos_token": _SPECIAL[0], "eos_token": _SPECIAL[2], "pad_token": _SPECIAL[0]}
    return PreTrainedTokenizerFast(tokenizer_object=made, chat_template=_TEMPLATE, **names)


def llm_folder(
    folder: Path,
    model_type: str,
    fields: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
    tok: Any = None,
    by: float = 4.0,
) -> Path:
    """Writes a random LLM with its tokenizer.

    Args:
        folder: Made.
        model_type: As Transformers names it.
        fields: Of its config beside ``SIZES``; with ``text_config`` they are those of the larger model around the LLM.
        without: Of ``SIZES``, what its config does not have.
        tok: A tokenizer; ``tokenizer()``, if None.
        by: See ``enlarge``; 1 leaves the weights as Transformers draws them.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMultimodalLM

    tok = tokenizer() if tok is None else tok
    tok.save_pretrained(folder)
    ids = {"bos_token_id": tok.bos_token_id, "eos_token_id": tok.eos_token_id, "pad_token_id": tok.pad_token_id}
    text = {"vocab_size": len(tok) + 8, **{k: v for k, v in SIZES.items() if k not in without}, **ids}
    fields = copy.deepcopy(dict(fields or {}))
    if "text_config" in fields:
        fields["text_config"] = text | fields["text_config"]
        fields |= ids
    else:
        fields = text | fields
    config = AutoConfig.for_model(model_type, **fields)
    autos = (AutoModelForCausalLM, AutoModelForMultimodalLM, AutoModel)
    auto = next(auto for auto in autos if type(config) in auto._model_mapping)
    torch.manual_seed(0)
    made = auto.from_config(config)
    enlarge(made, by)
    made.save_pretrained(folder)
    return folder


@torch.no_grad()
def enlarge(module: torch.nn.Module, by: float) -> None:
    """Random weights of trained models' size would hardly change what goes through."""
    if by == 1.0:
        return
    for parameter in module.parameters():
        if parameter.dim() >= 2:
            parameter.mul_(by)
        elif parameter.dim() == 1:
            parameter.add_(torch.randn_like(parameter) * 0.05)


def encoder_folder(
    folder: Path, model_type: str, fields: Mapping[str, Any], extractor: str | None = None, by: float = 3.0
) -> Path:
    """Writes a random speech encoder with its feature extractor, where one is named.

    Args:
        folder: Made.
        model_type: As Transformers names it.
        fields: Of its config.
        extractor: A class of Transformers.
        by: See ``enlarge``.
    """
    import transformers

    config = transformers.AutoConfig.for_model(model_type, **copy.deepcopy(dict(fields)))
    torch.manual_seed(0)
    voxtral = model_type == "voxtral_encoder"
    made = transformers.VoxtralEncoder(config) if voxtral else transformers.AutoModel.from_config(config)
    enlarge(made, by)
    made.save_pretrained(folder)
    if extractor:
        bands = {"feature_size": fields["num_mel_bins"]} if "num_mel_bins" in fields and "Whisper" in extractor else {}
        getattr(transformers, extractor)(**bands).save_pretrained(folder)
    return folder


def whisper_folder(folder: Path) -> Path:
    """Writes a random Whisper of one layer."""
    return encoder_folder(folder, "whisper", {**WHISPER, "encoder_layers": 1, "decoder_layers": 1}, by=1.0)


def nemo_asr(folder: Path, layers: int = 2, **encoder: Any) -> Path:
    """Writes a ``.nemo`` file with a random FastConformer-CTC.

    Args:
        folder: Made.
        layers: Of the encoder.
        **encoder: Other arguments of NeMo's ``ConformerEncoder``.
    """
    from nemo.collections.asr.models import EncDecCTCModel
    from omegaconf import OmegaConf

    folder.mkdir(parents=True, exist_ok=True)
    module = "nemo.collections.asr.modules"
    cfg = {
        "sample_rate": 16000,
        "preprocessor": {
            "_target_": f"{module}.AudioToMelSpectrogramPreprocessor", "features": 80, "normalize": "per_feature",
            "window_size": 0.025, "n_fft": 512, "dither": 0.0, "pad_to": 0,
        },
        "encoder": {
            "_target_": f"{module}.ConformerEncoder", "feat_in": 80, "n_layers": layers, "d_model": 32, "n_heads": 4,
            "subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_conv_channels": 16, **encoder,
        },
        "decoder": {"_target_": f"{module}.ConvASRDecoder", "feat_in": 32, "num_classes": 1, "vocabulary": ["a"]},
    }  # fmt: skip
    torch.manual_seed(0)
    EncDecCTCModel(OmegaConf.create(cfg)).save_to(str(folder / "asr.nemo"))
    return folder / "asr.nemo"


def section(llm: Path, encoder: Path, kind: str = "whisper", **more: Any) -> dict[str, Any]:
    """A ``model`` section with LoRA on all linear layers.

    Args:
        llm: A folder.
        encoder: A folder, or a ``.nemo`` file.
        kind: The encoder's model type, or ``nemo``.
        **more: Other keys.
    """
    ours = "nemo_vtb.modules.encoders.hugging_face.Speech"
    if kind in ("whisper", "voxtral_encoder"):
        ours = "nemo_vtb.modules.whisper.Whisper"
    encode = {"preprocessor": {"_target_": f"{ours}Features"}, "encoder": {"_target_": f"{ours}Encoder"}}
    if kind == "nemo":
        encode = {"preprocessor": {}, "encoder": {}}
    adapter = {
        "_target_": "nemo_vtb.modules.adapter.ConformerAdapter",
        "d_model": 32,
        "n_layers": 1,
        "n_heads": 4,
        "subsampling_factor": 4,
        "dropout": 0.0,
        "dropout_att": 0.0,
    }
    return {
        "pretrained_llm": str(llm),
        "pretrained_asr": str(encoder),
        "pretrained_weights": True,
        "prompt_format": "auto",
        "audio_locator_tag": AUDIO_TAG,
        "freeze_params": [r"^llm\..+$", r"^embed_tokens\..+$", r"^perception\.encoder\..+$"],
        "prevent_freeze_params": [],
        "lora": {
            "task_type": "CAUSAL_LM",
            "r": 4,
            "lora_alpha": 8,
            "lora_dropout": 0.0,
            "target_modules": "all-linear",
        },
        "perception": {**encode, "modality_adapter": adapter},
        "optimizer": {"_target_": "torch.optim.AdamW", "lr": 1e-3},
        **more,
    }


def batch(model: Any, chats: list[list[tuple[str, str]]], clips: int = 0) -> dict[str, Any]:
    """A batch of conversations, the last of which may hold clips of a second of noise."""
    from nemo_vtb.parts.prompts.turn_mask import encode_turns

    noise = torch.randn(clips, 16000, generator=torch.Generator().manual_seed(0)) * 0.1
    return {
        "encoded": [encode_turns(chat, model.formatter) for chat in chats],
        "audios": noise if clips else torch.zeros(0),
        "audio_lens": torch.full((clips,), 16000, dtype=torch.long),
    }
