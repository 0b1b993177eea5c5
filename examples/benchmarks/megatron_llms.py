"""What the benchmarks of megatron-core share: a random LLM in safetensors, LoRA on its ranks, a report."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

RANK = 16


def arguments(about: str | None) -> argparse.ArgumentParser:
    """A parser of what both take."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a few thousand weights, in seconds")
    parser.add_argument("--json", type=Path, help="where to write what was measured")
    return parser


def write_llm(folder: Path, shape: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> None:
    """Writes an LLM with random weights in safetensors.

    Args:
        folder: For them and the config.
        shape: Fields of the config, ``model_type`` among them.
        dtype: Of the weights.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model(**shape), dtype=dtype).save_pretrained(folder)


def adapted(folder: Path, dtype: torch.dtype, size: int) -> nn.Module:
    """The LLM over so many ranks, LoRA on its four matrices, its table as ``table`` beside it."""
    from omegaconf import OmegaConf
    from transformers import AutoConfig

    from nemo_vtb.modules.llm.parts import lent_table, take_table
    from nemo_vtb.modules.lora.install import adapt_llm
    from nemo_vtb.modules.megatron.build import build_megatron
    from nemo_vtb.modules.megatron.lora import custom_modules, megatron_settings

    cfg = OmegaConf.create({"pretrained_llm": str(folder), "tensor_model_parallel_size": size})
    llm: Any = build_megatron(cfg, AutoConfig.from_pretrained(folder), dtype)
    table = take_table(llm)
    with lent_table(llm, table):
        wrapped = adapt_llm(llm, megatron_settings({"r": RANK, "lora_alpha": RANK}), custom_modules())
    wrapped.table = table
    return wrapped


def report(found: Mapping[str, Any], path: Path | None) -> None:
    """Prints what was measured, and writes it where a path is given."""
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="")
    if path is not None:
        path.write_text(text, encoding="utf-8")
