"""An LLM's weights, read out of its safetensors no further than a rank needs them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.megatron.cut import fused_rows, span

_ONE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_TYPES = {"F32": ("<f4", torch.float32), "F16": ("<f2", torch.float16), "BF16": ("<i2", torch.bfloat16)}


class Weights:
    """The safetensors of a Hugging Face LLM.

    Args:
        name: Its folder, or a hub id.

    Attributes:
        read: Numbers read so far.

    Raises:
        VTBError: If there are none.
    """

    def __init__(self, name: str) -> None:
        from safetensors import safe_open

        self.read = 0
        folder = _folder_of(name)
        if (folder / _INDEX).is_file():
            places = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"]
        elif (folder / _ONE).is_file():
            places = None
        else:
            raise VTBError(
                f"model.pretrained_llm={name} has no {_ONE} and no {_INDEX}: model.llm_backend=megatron reads "
                "safetensors alone; save the LLM again with Transformers' save_pretrained"
            )
        opened = {file: safe_open(folder / file, "pt") for file in sorted(set(places.values()) if places else {_ONE})}
        self._name = name
        self._files = {tensor: (folder / file, held) for file, held in opened.items() for tensor in sorted(held.keys())}
        # A text model that was saved by itself has no prefix.
        self._prefix = "model." if "model.embed_tokens.weight" in self._files else ""

    def part(self, name: str, rows: slice = slice(None), columns: slice | None = None) -> Tensor:
        """Reads some rows, or some columns, of a tensor."""
        found = self._slice(name)
        taken = found[rows] if columns is None else found[:, columns]
        self.read += taken.numel()
        return taken

    def samples(self, most: int) -> Iterator[tuple[str, tuple[int, ...], Tensor]]:
        """Yields evenly spaced elements of every tensor, read without the rest of it.

        Args:
            most: Elements of a tensor, at most.

        Yields:
            Name with ``model.`` in front, shape, and ``(elements,)`` in the file's type.
        """
        headers: dict[Path, tuple[Mapping[str, Any], int]] = {}
        for tensor in sorted(self._files):
            path, _ = self._files[tensor]
            if path not in headers:
                with path.open("rb") as file:
                    length = int.from_bytes(file.read(8), "little")
                    headers[path] = json.loads(file.read(length)), 8 + length
            about, start = headers[path][0][tensor], headers[path][1]
            stored, dtype = _TYPES[about["dtype"]]
            count = int(np.prod(about["shape"]))
            place = start + about["data_offsets"][0]
            flat: np.ndarray = np.memmap(path, dtype=stored, mode="r", offset=place, shape=(count,))
            picked = torch.from_numpy(np.array(flat[:: max(1, count // most)][:most]))
            name = tensor if tensor.startswith(("model.", "lm_head.")) else f"model.{tensor}"
            yield name, tuple(about["shape"]), picked.view(dtype) if dtype is torch.bfloat16 else picked

    def _slice(self, name: str) -> Any:
        name = self._prefix + name.removeprefix("model.") if name.startswith("model.") else name
        if name not in self._files:
            raise VTBError(f"model.pretrained_llm={self._name} has no weights {name} in its safetensors")
        return self._files[name][1].get_slice(name)


@torch.no_grad()
def fill(llm: Any, weights: Weights, rank: int, size: int) -> None:
    """Gives an LLM its part of the weights.

    Args:
        llm: A ``MegatronCausalLM``, newly built, without adapters.
        weights: Hugging Face's.
        rank: Which part.
        size: Of how many.

    Raises:
        VTBError: If a tensor is missing or has another shape.
    """
    config, body = llm.config, llm.model
    own_ids = slice(*span(config.vocab_size, rank, size))
    _copy(body.embed_tokens.weight, weights, "model.embed_tokens.weight", own_ids)
    if not config.tie_word_embeddings:
        _copy(llm.lm_head.linear.weight, weights, "lm_head.weight", own_ids)
    _copy(body.norm.weight, weights, "model.norm.weight")
    for number, layer in enumerate(body.layers):
        _fill_layer(layer, weights, f"model.layers.{number}.", config, rank, size)


def samples_of_llm(name: str, most: int) -> Iterator[tuple[str, tuple[int, ...], Tensor]]:
    """Yields what ``Weights.samples`` does, by the names that the same LLM's parameters have in a model of ours."""
    for tensor, shape, picked in Weights(name).samples(most):
        if tensor == "model.embed_tokens.weight":
            yield "embed_tokens.weight", shape, picked
        else:
            yield f"llm.{tensor}", shape, picked


def _fill_layer(layer: Any, weights: Weights, prefix: str, config: Any, rank: int, size: int) -> None:
    attention, mlp = layer.self_attention, layer.mlp
    rows = len(attention.linear_qkv.weight)
    fused = fused_rows(config, rank * rows, (rank + 1) * rows)
    for kind in ("weight", "bias"):
        own = getattr(attention.linear_qkv, kind)
        if own is not None:
            parts = [weights.part(f"{prefix}self_attn.{x}_proj.{kind}", slice(low, high)) for x, low, high in fused]
            _put(own, torch.cat(parts), f"{prefix}self_attn.qkv.{kind}")
    heads = attention.linear_proj.weight.shape[1]
    _put(
        attention.linear_proj.weight,
        weights.part(f"{prefix}self_attn.o_proj.weight", columns=slice(rank * heads, (rank + 1) * heads)),
        f"{prefix}self_attn.o_proj.weight",
    )
    channels = slice(*span(config.intermediate_size, rank, size))
    halves = [weights.part(f"{prefix}mlp.{x}_proj.weight", channels) for x in ("gate", "up")]
    _put(mlp.linear_fc1.weight, torch.cat(halves), f"{prefix}mlp.gate_up.weight")
    down = f"{prefix}mlp.down_proj.weight"
    _put(mlp.linear_fc2.weight, weights.part(down, columns=channels), down)
    _copy(layer.input_layernorm.weight, weights, f"{prefix}input_layernorm.weight")
    if attention.q_layernorm is not None:
        _copy(attention.q_layernorm.weight, weights, f"{prefix}self_attn.q_norm.weight")
        _copy(attention.k_layernorm.weight, weights, f"{prefix}self_attn.k_norm.weight")
    before_mlp = "post_attention_layernorm"
    if isinstance(layer.mlp_bda, nn.Module):
        before_mlp = "pre_feedforward_layernorm"
        _copy(layer.self_attn_bda.norm.weight, weights, f"{prefix}post_attention_layernorm.weight")
        _copy(layer.mlp_bda.norm.weight, weights, f"{prefix}post_feedforward_layernorm.weight")
    _copy(layer.pre_mlp_layernorm.weight, weights, f"{prefix}{before_mlp}.weight")


def _copy(own: Tensor, weights: Weights, name: str, rows: slice = slice(None)) -> None:
    _put(own, weights.part(name, rows), name)


def _put(own: Tensor, values: Tensor, name: str) -> None:
    if own.shape != values.shape:
        raise VTBError(
            f"the weights {name} have another shape in the safetensors than the LLM's config gives them: "
            f"{tuple(values.shape)} of a rank there, {tuple(own.shape)} here"
        )
    own.copy_(values)


def _folder_of(name: str) -> Path:
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=["*.safetensors", _INDEX, "*.json"]))
