"""A frozen LLM in 4 or 8 bits for small cards, through Transformers (``model.quantization``)."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from inspect import signature
from typing import Any

import torch
from torch import nn

from nemo_vtb.config import check_keys
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line

# Names for what is usual; a section holds the fields of transformers.BitsAndBytesConfig.
SHORT: Mapping[str, Mapping[str, Any] | None] = {
    "bnb_4bit": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True},
    "bnb_8bit": {"load_in_8bit": True},
    "torchao_int8": None,
}


def check_quantization(section: Mapping[str, Any]) -> None:
    """Refuses what cannot work together with ``model.quantization``, before anything is loaded.

    Args:
        section: The section ``model``.

    Raises:
        VTBError: Names the key.
    """
    asked = section.get("quantization")
    if asked is None:
        return
    if not isinstance(asked, Mapping) and asked not in SHORT:
        raise VTBError(
            f"model.quantization is {asked!r}; it may be {', '.join(SHORT)}, or a section with fields of "
            "transformers.BitsAndBytesConfig"
        )
    if not section.get("pretrained_weights", True):
        raise VTBError("model.quantization needs weights to quantise: model.pretrained_weights is false")
    lora = section.get("lora")
    if lora is None:
        raise VTBError("model.quantization leaves nothing of the LLM to train: choose LoRA, e.g. lora=r32")
    initial = str(lora.get("init_lora_weights", True))
    if initial.startswith(("pissa", "olora", "orthogonal")):
        raise VTBError(f"model.quantization cannot be used with model.lora.init_lora_weights={initial}: use true")
    for key in ("use_dora", "target_parameters", "lora_bias"):
        if lora.get(key):
            raise VTBError(f"model.quantization cannot be used with model.lora.{key}")
    if asked != "torchao_int8" and find_spec("bitsandbytes") is None:
        raise VTBError("model.quantization needs the package bitsandbytes: pip install 'nemo-vtb[quantization]'")
    _settings(asked, torch.float32)


def quantized_options(asked: Any, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments for ``from_pretrained``: none without quantisation.

    Args:
        asked: ``model.quantization`` as plain values.
        dtype: Of the sums, and of what is not quantised.
    """
    if asked is None:
        return {}
    # Quantised weights are made where they stay; ranks of a node have a card each.
    device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
    return {"quantization_config": _settings(asked, dtype), "device_map": {"": device}}


def is_quantized(parameter: nn.Parameter) -> bool:
    """Whether a parameter is not what its module computes with; its shape, dtype and values are the package's own."""
    return type(parameter) is not nn.Parameter or not parameter.is_floating_point()


def _settings(asked: Any, dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig, TorchAoConfig

    if asked == "torchao_int8":
        from torchao.quantization import Int8WeightOnlyConfig

        return TorchAoConfig(Int8WeightOnlyConfig())
    fields: dict[str, Any] = {**(SHORT[asked] or {})} if isinstance(asked, str) else {**asked}
    if fields.pop("quant_method", "bitsandbytes") != "bitsandbytes":
        raise VTBError("model.quantization.quant_method may be bitsandbytes; for torchao say torchao_int8")
    if fields.get("bnb_4bit_quant_type", "nf4") not in ("nf4", "fp4"):
        raise VTBError(
            f"model.quantization.bnb_4bit_quant_type is {fields['bnb_4bit_quant_type']!r}; it may be nf4, fp4"
        )
    if fields.get("load_in_4bit"):
        fields.setdefault("bnb_4bit_compute_dtype", dtype)
    elif not fields.get("load_in_8bit"):
        raise VTBError("model.quantization must set load_in_4bit or load_in_8bit to true")
    check_keys(
        fields, set(signature(BitsAndBytesConfig.__init__).parameters) - {"self", "kwargs"}, "model.quantization"
    )
    try:
        return BitsAndBytesConfig(**fields)
    except (TypeError, ValueError, AttributeError) as error:
        raise VTBError(f"model.quantization: {first_line(error)}") from error
