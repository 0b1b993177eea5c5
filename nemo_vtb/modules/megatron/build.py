"""Builds the LLM of ``model.llm_backend: megatron``: groups, layers, and this rank's part of the weights."""

from typing import TYPE_CHECKING, Any

import torch
from omegaconf import DictConfig
from torch import nn

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.megatron.families import check_family, check_sizes
from nemo_vtb.modules.megatron.groups import ensure_groups, tensor_rank, tensor_size
from nemo_vtb.parts.ranks import said_by_first

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel


def check_megatron(cfg: DictConfig, config: "PretrainedConfig") -> None:
    """Refuses what this backbone cannot run, before anything is loaded.

    Args:
        cfg: The section ``model``.
        config: Of its LLM.

    Raises:
        VTBError: Names the key and the remedy.
    """
    size = cfg.get("tensor_model_parallel_size") or 1
    check_family(config)
    check_sizes(config, size)
    if not cfg.get("pretrained_weights", True):
        raise VTBError("model.llm_backend=megatron reads its weights from safetensors: model.pretrained_weights=true")
    if cfg.get("quantization") is not None:
        raise VTBError("model.quantization is for model.llm_backend=hf: leave one of them out")
    if "llm" in (cfg.get("compile") or ()):
        raise VTBError("model.compile=[llm] is for model.llm_backend=hf: megatron-core's collectives cannot be traced")


def build_megatron(cfg: DictConfig, config: "PretrainedConfig", dtype: torch.dtype, **attention: Any) -> nn.Module:
    """Builds the LLM.

    Args:
        cfg: The section ``model``.
        config: Of its LLM.
        dtype: Of the weights.
        **attention: ``attn_implementation``, where it is not left to Hugging Face.

    Raises:
        VTBError: See ``check_megatron``, ``ensure_groups`` and ``Weights``.
    """
    check_megatron(cfg, config)
    size, sequence_parallel = cfg.get("tensor_model_parallel_size") or 1, bool(cfg.get("sequence_parallel"))
    ensure_groups(size, sequence_parallel)
    from nemo_vtb.modules.megatron.causal_lm import MegatronCausalLM
    from nemo_vtb.modules.megatron.weights import Weights, fill

    # What a rank measured of its own machine decides for none of the others.
    dtype, attention = said_by_first((dtype, attention))
    _choose_attention(config, **attention)
    weights = Weights(cfg["pretrained_llm"])
    # Layers are empty until they are filled; nothing is drawn for them.
    state = torch.get_rng_state()
    llm = MegatronCausalLM(config, sequence_parallel, dtype)
    torch.set_rng_state(state)
    fill(llm, weights, tensor_rank(), tensor_size())
    llm.name_or_path = cfg["pretrained_llm"]
    return llm


def _choose_attention(config: "PretrainedConfig", **attention: Any) -> None:
    """Has Hugging Face choose the attention as it does for its own model of this config."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        theirs: PreTrainedModel = AutoModelForCausalLM.from_config(config, **attention)
    config._attn_implementation = theirs.config._attn_implementation
