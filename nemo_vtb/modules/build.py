"""Building the LLM and the perception module from a config, with pretrained or random weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from nemo_vtb.config import section_of
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import blamed_on, first_line
from nemo_vtb.modules.backbone import HFBackbone
from nemo_vtb.modules.encoders.fill import HUGGING_FACE, fill_adapter, fill_hugging_face
from nemo_vtb.modules.encoders.nemo_asr import adopt_nemo_encoder, load_nemo_encoder, shape_nemo_encoder
from nemo_vtb.modules.llm.all_linear import widen_all_linear
from nemo_vtb.modules.llm.parts import lent_table, remember_table
from nemo_vtb.modules.llm.waiting import check_may_wait, have_wait, may_wait, stand_ins
from nemo_vtb.modules.llm.wrapped import causal_class, text_model_alone
from nemo_vtb.modules.lora.install import adapt_encoder, adapt_llm, trained_by_lora
from nemo_vtb.modules.quantized import quantized_options
from nemo_vtb.options import check_arguments
from nemo_vtb.parts.lora import lora_settings
from nemo_vtb.parts.lora_fields import check_lora_fields
from nemo_vtb.parts.machine.choice import AUTO, choose_attention, choose_precision, is_half
from nemo_vtb.parts.machine.hardware import default_device, look
from nemo_vtb.targets import built_from

if TYPE_CHECKING:
    from nemo.collections.speechlm2.modules.perception import AudioPerceptionModule
    from transformers import PreTrainedModel


def build_llm(cfg: DictConfig) -> "PreTrainedModel":
    """Builds the backbone: a causal LM, of an LLM within a larger model that part alone.

    With ``pretrained_weights: false`` and an ``llm_config`` section (fields of the Hugging Face config, ``model_type``
    among them) no file is read: shapes alone, on whatever device is the default, the meta device included.

    Raises:
        VTBError: If the LLM cannot be found or read, or is none.
    """
    from transformers import AutoConfig

    remote = {"trust_remote_code": cfg.get("trust_remote_code", False)}
    options = {"dtype": getattr(torch, weights_type(cfg))} | attention_settings(cfg)
    config = None
    where = f"model.pretrained_llm={cfg.pretrained_llm}"
    if not cfg.get("pretrained_weights", True) and cfg.get("llm_config") is not None:
        fields: dict[str, Any] = OmegaConf.to_container(cfg.llm_config, resolve=True)
        with blamed_on("model.llm_config"):
            config = AutoConfig.for_model(**fields)
    try:
        config = config or AutoConfig.from_pretrained(cfg.pretrained_llm, **remote)
        if is_megatron(cfg):
            from nemo_vtb.modules.megatron.build import build_megatron

            llm = build_megatron(cfg, config, **options)
            remember_table(llm)
            return llm
        made_by = causal_class(config)
        if cfg.get("pretrained_weights", True):
            quantized = quantized_options(_plain(cfg.get("quantization")), options["dtype"])
            llm = _waiting(cfg, made_by, remote | options) if may_wait() else None
            llm = llm or made_by.from_pretrained(cfg.pretrained_llm, **remote, **options, **quantized)
        else:
            llm = made_by.from_config(config, **remote, **options)
        llm = text_model_alone(llm)
        _leave_out_own_settings(llm)
        remember_table(llm)
        return llm
    except (ImportError, ValueError) as error:
        raise VTBError(
            f"model.attn_implementation={cfg.get('attn_implementation', 'auto')}, {where}: {first_line(error)}"
        ) from error
    except Exception as error:
        with blamed_on(where, "give a local folder, a hub id you can reach, or a packaged asset (`vtb assets list`)"):
            raise error


def _waiting(cfg: DictConfig, made_by: Any, options: Mapping[str, Any]) -> "PreTrainedModel | None":
    """The LLM with its weights still in their files, or None where they cannot wait there, which is said."""
    try:
        check_may_wait(cfg)
        llm = made_by.from_pretrained(cfg.pretrained_llm, device_map={"": "meta"}, **options)
        have_wait(llm, cfg.pretrained_llm)
        return llm
    except VTBError as error:
        from nemo.utils import logging

        logging.warning(
            f"nemo_vtb: every rank loads the whole LLM {cfg.pretrained_llm} before it is sharded, since its weights "
            f"cannot be read in shards: {error}"
        )
        return None


def is_megatron(cfg: DictConfig) -> bool:
    """Whether the LLM runs on megatron-core."""
    return cfg.get("llm_backend") == "megatron"


def build_backbone(owner: Any, loss_backend: str, loss_chunk: int) -> HFBackbone:
    """Puts the calls the model needs around its LLM; see ``HFBackbone``."""
    if is_megatron(owner.cfg):
        from nemo_vtb.modules.megatron.backbone import MegatronBackbone

        return MegatronBackbone(owner, loss_backend, loss_chunk)
    return HFBackbone(owner, loss_backend, loss_chunk)


def weights_type(cfg: DictConfig) -> str:
    """The type that the LLM's weights are loaded in.

    ``auto`` is what computes fastest where Lightning would run by default; a trainer that is set to something else
    has them changed before its first step.
    """
    asked = cfg.get("llm_dtype") or "float32"
    if asked != AUTO:
        return asked
    precision = choose_precision(look(default_device())).value
    return "bfloat16" if is_half(precision) else "float32"


def _leave_out_own_settings(llm: "PreTrainedModel") -> None:
    """Leaves the LLM's own sampling and penalties out of its answers, whoever asks.

    A penalty for repetition counts the prompt in, and a transcript repeats what was said.
    """
    from transformers import GenerationConfig

    if (own := llm.generation_config) is not None:
        ids = {name: getattr(own, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        llm.generation_config = GenerationConfig(**ids)


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
    half = weights_type(cfg) in ("bfloat16", "float16")
    chosen = choose_attention(look(default_device(), measured=False), half).value
    return {"attn_implementation": chosen} if chosen.startswith("flash") else {}


def install_lora(llm: "PreTrainedModel", embed_tokens: nn.Module, cfg: DictConfig) -> nn.Module:
    """Wraps the LLM with PEFT LoRA where the config has a ``lora`` section, else returns it unchanged.

    The wrapper looks for the input embeddings, which SALM keeps outside the LLM; they are lent to it meanwhile.
    """
    if cfg.get("lora") is None:
        return llm
    from nemo.utils import logging
    from peft import LoraConfig

    names = [name for name, _ in llm.named_modules()]
    section: dict[str, Any] = OmegaConf.to_container(cfg.lora, resolve=True)
    custom = None
    if is_megatron(cfg):
        from nemo_vtb.modules.megatron.lora import custom_modules, megatron_settings

        section, custom = megatron_settings(check_lora_fields(section)), custom_modules()
    settings = lora_settings(section, llm.config.model_type, names)
    settings, told = widen_all_linear(llm, settings, cfg.get("text_lora") == "audio_gated")
    for sentence in told:
        logging.warning(f"nemo_vtb: {sentence}")
    check_arguments(LoraConfig, settings, "model.lora")
    with lent_table(llm, embed_tokens), stand_ins(llm):
        wrapped = adapt_llm(llm, settings, custom)
    return wrapped


def lora_names(model: Any) -> set[str]:
    """Names of what LoRA trains in the LLM and the encoder, for ``freeze_parameters`` to leave alone."""
    parts = {"llm": model.llm} if model.cfg.get("lora") is not None else {}
    if model.cfg.get("encoder_lora") is not None:
        parts["perception.encoder"] = model.perception.encoder
    return {name for prefix, part in parts.items() for name in trained_by_lora(part, f"{prefix}.")}


def build_perception(cfg: DictConfig, hidden_size: int) -> "AudioPerceptionModule":
    """Builds preprocessor, speech encoder and adapter; writes the sizes that follow from others into ``cfg``.

    Raises:
        VTBError: If the encoder is none we know, or config and checkpoint disagree.
    """
    from nemo.collections.speechlm2.modules.perception import AudioPerceptionModule

    section_of(cfg, "perception.modality_adapter")
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
    with built_from(perception, "model.perception"):
        module = AudioPerceptionModule(perception).train()
    if state is not None:
        load_nemo_encoder(module, state, f"model.pretrained_asr={cfg.pretrained_asr}")
    if cfg.get("encoder_lora") is not None:
        adapt_encoder(module.encoder, OmegaConf.to_container(cfg.encoder_lora, resolve=True))
    return module
