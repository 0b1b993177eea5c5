"""The LLM within a model that also sees or hears: Gemma 3 and 4, Qwen-VL, Mistral 3, Voxtral and their like."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.llm.head import own_logits
from nemo_vtb.modules.llm.waiting import is_waiting

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def causal_class(config: Any) -> Any:
    """Returns the auto class that builds a model of this config.

    Raises:
        VTBError: If Transformers has no LLM for it.
    """
    from transformers import AutoModelForCausalLM, AutoModelForMultimodalLM

    for auto in (AutoModelForCausalLM, AutoModelForMultimodalLM):
        if type(config) in auto._model_mapping or config.model_type in getattr(config, "auto_map", {}):
            break
    else:
        if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
            return AutoModelForCausalLM
        raise VTBError(
            f"model.pretrained_llm is of type '{config.model_type}', in which Transformers knows no causal LLM"
        )
    if config.is_encoder_decoder or getattr(type(config), "is_encoder_decoder", False):
        raise VTBError(
            f"model.pretrained_llm is of type '{config.model_type}', an encoder with a decoder and no causal LLM"
        )
    return auto


def text_model_alone(llm: "PreTrainedModel") -> "PreTrainedModel":
    """Returns the text model of a larger one as a causal LM; anything else as it is.

    Where the text config has a causal class of its own, the result is of that class, as if it had been saved so. Else,
    or where that class makes other logits of the same hidden states (Aya Vision, which leaves Cohere's factor out), it
    is the larger model without its other parts, which would be adapted, sharded and saved for nothing.
    """
    from transformers import AutoModelForCausalLM

    text = llm.config.get_text_config(decoder=True)
    if text is llm.config:
        return llm
    inner = llm.get_decoder()
    head = llm.get_output_embeddings()
    if type(text) in AutoModelForCausalLM._model_mapping and head is not None:
        with torch.device("meta"):
            alone = AutoModelForCausalLM.from_config(text, attn_implementation=text._attn_implementation)
        if type(alone.base_model) is type(inner):
            setattr(alone, alone.base_model_prefix, inner)
            alone.set_output_embeddings(head)
        if type(alone.base_model) is type(inner) and _same_logits(llm, alone, head):
            if llm.generation_config is not None:
                alone.generation_config = llm.generation_config
            alone.name_or_path = llm.name_or_path
            return alone.train(llm.training)
    _drop_other_parts(llm, {id(module) for kept in (inner, head) if kept is not None for module in kept.modules()})
    return llm


@torch.no_grad()
def _same_logits(llm: "PreTrainedModel", alone: "PreTrainedModel", head: nn.Module) -> bool:
    """Whether both make the same of what comes out of the text model; yes where that cannot be tried out."""
    weight: torch.Tensor = head.weight  # type: ignore[assignment]
    if weight.is_meta and not is_waiting(head):
        return True
    where = torch.device("cpu") if weight.is_meta else weight.device
    drawn = torch.randn(4, weight.shape[-1], generator=torch.Generator().manual_seed(0)).to(where, weight.dtype)
    with _drawn_words(head):
        try:
            theirs = own_logits(llm, drawn)
        except Exception:  # what a larger model wants beside embeddings is its own affair
            return True
        return torch.allclose(own_logits(alone, drawn), theirs, rtol=1e-2, atol=1e-2 * theirs.abs().max().item())


@contextmanager
def _drawn_words(head: nn.Module) -> Iterator[None]:
    """Has a few random words in a head whose own wait in a file; a factor or a cap is the same for any."""
    own = head._parameters["weight"]
    if own is None or not is_waiting(head):
        yield
        return
    drawn = torch.randn(64, own.shape[1], generator=torch.Generator().manual_seed(1))
    head._parameters["weight"] = nn.Parameter(drawn.to(own.dtype), requires_grad=False)
    try:
        yield
    finally:
        head._parameters["weight"] = own


def _drop_other_parts(module: nn.Module, kept: set[int]) -> None:
    for name, child in list(module.named_children()):
        if id(child) in kept:
            continue
        if any(id(part) in kept for part in child.modules()):
            _drop_other_parts(child, kept)
        else:
            setattr(module, name, None)
