"""LoRA on the fused matrices as LoRA on Hugging Face's, and the other way.

Queries, keys and values share a factor A on the fused matrix; each gets a copy of it, and of B its own rows: the same
function at the same rank. The other way three factors A have to stand side by side, so the rank is three times as
large; gate and up projection likewise, twice.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.megatron.cut import fused_rows
from nemo_vtb.parts.lora import DEFAULT_RANK

_OURS = re.compile(r"^(.*\.layers\.\d+)\.(self_attention|mlp)\.(linear_\w+)\.lora_([AB])\.(.+)$")
_THEIRS = re.compile(r"^(.*\.layers\.\d+)\.(self_attn|mlp)\.(\w+_proj)\.lora_([AB])\.(.+)$")
# By fused matrix: where it is in a layer of ours and of Hugging Face's, and what it consists of there.
_MATRICES = {
    "linear_qkv": ("self_attention", "self_attn", ("q_proj", "k_proj", "v_proj")),
    "linear_proj": ("self_attention", "self_attn", ("o_proj",)),
    "linear_fc1": ("mlp", "mlp", ("gate_proj", "up_proj")),
    "linear_fc2": ("mlp", "mlp", ("down_proj",)),
}
_FUSED_OF = {part: fused for fused, (_, _, parts) in _MATRICES.items() for part in parts}


def to_hugging_face(state: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
    """Whole LoRA weights by parameter name, as the same LLM of Hugging Face has them.

    Args:
        state: By the names of this backbone; what is not LoRA's keeps its name.
        config: Of the LLM.
    """
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        match = _OURS.match(name)
        if match is None:
            found[name] = value
            continue
        layer, _, fused, factor, rest = match.groups()
        _, where, parts = _MATRICES[fused]
        values = [value] * len(parts) if factor == "A" else _dealt_out(value, fused, config)
        for part, own in zip(parts, values, strict=True):
            found[f"{layer}.{where}.{part}.lora_{factor}.{rest}"] = own.clone()
    return found


def names_to_hugging_face(names: list[str]) -> list[str]:
    """The parameter names of ``to_hugging_face``, without values."""
    found = []
    for name in names:
        match = _OURS.match(name)
        if match is None:
            found.append(name)
            continue
        layer, _, fused, factor, rest = match.groups()
        _, where, parts = _MATRICES[fused]
        found += [f"{layer}.{where}.{part}.lora_{factor}.{rest}" for part in parts]
    return found


def from_hugging_face(state: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
    """LoRA weights of Hugging Face's LLM on the fused matrices, at a rank that is the sum of the parts' ranks.

    Args:
        state: Whole, by parameter name; what is not LoRA's keeps its name.
        config: Of the LLM.

    Raises:
        VTBError: If what belongs to one fused matrix was not adapted together.
    """
    found: dict[str, Tensor] = {}
    fused: dict[tuple[str, str, str], dict[tuple[str, str], Tensor]] = {}
    for name, value in state.items():
        match = _THEIRS.match(name)
        if match is None:
            if ".lora_" in name and name.startswith("llm."):
                raise VTBError(f"model.llm_backend=megatron has no place for {name}")
            found[name] = value
            continue
        layer, _, part, factor, rest = match.groups()
        fused.setdefault((layer, _FUSED_OF[part], rest), {})[part, factor] = value
    for (layer, matrix, rest), values in fused.items():
        where, _, parts = _MATRICES[matrix]
        if missing := [part for part in parts if (part, "A") not in values]:
            raise VTBError(
                f"{layer}: LoRA adapts {', '.join(part for part in parts if part not in missing)} and not "
                f"{', '.join(missing)}; model.llm_backend=megatron has them in one matrix and adapts all or none"
            )
        prefix = f"{layer}.{where}.{matrix}"
        found[f"{prefix}.lora_A.{rest}"] = torch.cat([values[part, "A"] for part in parts])
        found[f"{prefix}.lora_B.{rest}"] = _side_by_side([values[part, "B"] for part in parts], matrix, config)
    return found


def lora_to_hugging_face(section: Mapping[str, Any]) -> dict[str, Any]:
    """A section ``lora`` of this backbone as one of Hugging Face's."""
    from nemo_vtb.modules.megatron.lora import megatron_settings

    settings = megatron_settings(section)
    targets = [part for fused in settings["target_modules"] for part in _MATRICES[fused][2]]
    patterns = {
        key: {part: value for fused, value in settings[key].items() for part in _MATRICES[fused][2]}
        for key in ("rank_pattern", "alpha_pattern")
        if settings.get(key)
    }
    return {**settings, **patterns, "target_modules": targets}


def lora_from_hugging_face(section: Mapping[str, Any], targets: list[str]) -> dict[str, Any]:
    """A section ``lora`` of Hugging Face's with the ranks and scales of ``from_hugging_face``.

    Args:
        section: Its rank and scale are those of all matrices.
        targets: Last names of the modules that have LoRA.

    Raises:
        VTBError: If it has settings that cannot be said of the fused matrices.
    """
    from nemo_vtb.modules.megatron.lora import megatron_settings

    rest = {key: value for key, value in section.items() if key != "target_modules"}
    if section.get("rank_pattern") or section.get("alpha_pattern"):
        raise VTBError("LoRA with ranks of its own per module cannot be taken over by model.llm_backend=megatron")
    fused = sorted({_FUSED_OF[part] for part in targets}, key=list(_MATRICES).index)
    rank, alpha = section.get("r", DEFAULT_RANK), section.get("lora_alpha", 8)
    counts = {matrix: len(_MATRICES[matrix][2]) for matrix in fused if len(_MATRICES[matrix][2]) > 1}
    # What B A is multiplied by stays: alpha / rank, or alpha over its root.
    stretch = {matrix: count**0.5 if section.get("use_rslora") else count for matrix, count in counts.items()}
    settings = megatron_settings({**rest, "target_modules": fused})
    settings |= {"r": rank, "lora_alpha": alpha}
    settings["rank_pattern"] = {matrix: count * rank for matrix, count in counts.items()}
    settings["alpha_pattern"] = {matrix: stretch[matrix] * alpha for matrix in counts}
    return settings


def _dealt_out(value: Tensor, fused: str, config: Any) -> list[Tensor]:
    if fused == "linear_fc1":
        return list(value.chunk(2))
    if fused != "linear_qkv":
        return [value]
    parts: dict[str, list[Tensor]] = {"q": [], "k": [], "v": []}
    at = 0
    for part, low, high in fused_rows(config):
        parts[part].append(value[at : at + high - low])
        at += high - low
    return [torch.cat(rows) for rows in parts.values()]


def _side_by_side(values: list[Tensor], fused: str, config: Any) -> Tensor:
    if len(values) == 1:
        return values[0]
    ranks = [value.shape[1] for value in values]
    starts = [sum(ranks[:number]) for number in range(len(ranks))]
    wide = [
        torch.nn.functional.pad(value, (start, sum(ranks) - start - value.shape[1]))
        for value, start in zip(values, starts, strict=True)
    ]
    if fused == "linear_fc1":
        return torch.cat(wide)
    by_part = dict(zip("qkv", wide, strict=True))
    return torch.cat([by_part[part][low:high] for part, low, high in fused_rows(config)])
