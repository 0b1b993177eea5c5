"""Building the LLM and the perception module from a config, with pretrained or random weights."""

from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.encoders.fill import HUGGING_FACE, fill_adapter, fill_hugging_face
from nemo_vtb.modules.encoders.nemo_asr import adopt_nemo_encoder, load_nemo_encoder, shape_nemo_encoder
from nemo_vtb.modules.lora.install import adapt_encoder, adapt_llm, trained_by_lora
from nemo_vtb.modules.quantized import quantized_options
from nemo_vtb.parts.lora import lora_settings

if TYPE_CHECKING:
    from nemo.collections.speechlm2.modules.perception import AudioPerceptionModule
    from transformers import PreTrainedModel


def build_llm(cfg: DictConfig) -> "PreTrainedModel":
    """Builds the backbone.

    With ``pretrained_weights: false`` and an ``llm_config`` section (fields of the Hugging Face config, ``model_type``
    among them) no file is read: shapes alone, on whatever device is the default, the meta device included.

    Raises:
        VTBError: If the LLM cannot be found or read.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    remote = {"trust_remote_code": cfg.get("trust_remote_code", False)}
    options = {"dtype": getattr(torch, cfg.get("llm_dtype") or "float32")} | attention_settings(cfg)
    config = None
    if not cfg.get("pretrained_weights", True) and cfg.get("llm_config") is not None:
        fields: dict[str, Any] = OmegaConf.to_container(cfg.llm_config, resolve=True)
        config = AutoConfig.for_model(**fields)
    try:
        if config is None and cfg.get("pretrained_weights", True):
            quantized = quantized_options(_plain(cfg.get("quantization")), options["dtype"])
            return AutoModelForCausalLM.from_pretrained(cfg.pretrained_llm, **remote, **options, **quantized)
        config = config or AutoConfig.from_pretrained(cfg.pretrained_llm, **remote)
        return AutoModelForCausalLM.from_config(config, **options)
    except OSError as error:
        raise VTBError(
            f"model.pretrained_llm={cfg.pretrained_llm} cannot be loaded: {str(error).splitlines()[0]} "
            "Give a local folder, a hub id you can reach, or a packaged asset (`vtb assets list`)."
        ) from error
    except (ImportError, ValueError) as error:
        raise VTBError(
            f"model.attn_implementation={cfg.get('attn_implementation', 'auto')}, model.pretrained_llm="
            f"{cfg.pretrained_llm}: {str(error).splitlines()[0]}"
        ) from error


def _plain(section: Any) -> Any:
    return OmegaConf.to_container(section, resolve=True) if OmegaConf.is_config(section) else section


def attention_settings(cfg: DictConfig) -> dict[str, str]:
    """What is passed to Hugging Face for ``model.attn_implementation``: nothing where its own choice is right.

    Its choice is SDPA, or ``eager`` where attention logits are capped (Gemma 2). FlashAttention, which keeps packed
    conversations apart at no cost, needs its package, a GPU and half precision.
    """
    asked = cfg.get("attn_implementation") or "auto"
    if asked != "auto":
        return {"attn_implementation": asked}
    from transformers.utils import is_flash_attn_2_available

    half = cfg.get("llm_dtype") in ("bfloat16", "float16")
    return {"attn_implementation": "flash_attention_2"} if half and is_flash_attn_2_available() else {}


def install_lora(llm: "PreTrainedModel", embed_tokens: nn.Module, cfg: DictConfig) -> nn.Module:
    """Wraps the LLM with PEFT LoRA where the config has a ``lora`` section, else returns it unchanged.

    The wrapper looks for the input embeddings, which SALM keeps outside the LLM; they are lent to it meanwhile.
    """
    if cfg.get("lora") is None:
        return llm
    names = [name for name, _ in llm.named_modules()]
    section: dict[str, Any] = OmegaConf.to_container(cfg.lora, resolve=True)
    settings = lora_settings(section, llm.config.model_type, names)
    llm.model.embed_tokens = embed_tokens
    wrapped = adapt_llm(llm, settings)
    del llm.model.embed_tokens
    return wrapped


def lora_patterns(model: Any) -> list[str]:
    """Name patterns of what LoRA trains in the LLM and the encoder, for ``freeze_parameters`` to leave alone."""
    parts = {"llm": model.llm} if model.cfg.get("lora") is not None else {}
    if model.cfg.get("encoder_lora") is not None:
        parts["perception.encoder"] = model.perception.encoder
    return [pattern for prefix, part in parts.items() for pattern in trained_by_lora(part, f"{prefix}.")]


def build_perception(cfg: DictConfig, hidden_size: int) -> "AudioPerceptionModule":
    """Builds preprocessor, speech encoder and adapter; writes the sizes that follow from others into ``cfg``.

    Raises:
        VTBError: If the encoder is none we know, or config and checkpoint disagree.
    """
    from hydra.errors import InstantiationException
    from nemo.collections.speechlm2.modules.perception import AudioPerceptionModule

    perception = cfg.perception
    state = None
    with open_dict(cfg):
        perception.output_dim = hidden_size
        if (perception.get("encoder") or {}).get("_target_") in HUGGING_FACE:
            fill_hugging_face(cfg)
        elif cfg.get("pretrained_weights", True):
            state = adopt_nemo_encoder(cfg)
        else:
            shape_nemo_encoder(cfg)
        fill_adapter(perception, hidden_size)
        adapter = perception.modality_adapter
        for part in (perception.encoder, adapter):
            if str(part.get("_target_")).endswith(".ConformerEncoder"):
                # NeMo's default is an all-reduce in every forward pass; ranks whose batches are not alike, in
                # validation or with cached frames, make different numbers of them and wait for each other forever.
                part.sync_max_audio_length = False
    try:
        module = AudioPerceptionModule(perception).train()
    except InstantiationException as error:
        # Hydra, by which NeMo builds the parts, wraps whatever they raise.
        if isinstance(error.__cause__, VTBError):
            raise error.__cause__ from None
        raise
    if state is not None:
        load_nemo_encoder(module, state, f"model.pretrained_asr={cfg.pretrained_asr}")
    if cfg.get("encoder_lora") is not None:
        adapt_encoder(module.encoder, OmegaConf.to_container(cfg.encoder_lora, resolve=True))
    return module
