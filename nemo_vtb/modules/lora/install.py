"""Puts PEFT's LoRA into a module and looks whether every setting has found what it names."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line
from nemo_vtb.modules.lora.shifted import shift_adapters
from nemo_vtb.parts.lora import leave_casts_to_autocast
from nemo_vtb.parts.lora_fields import EMBEDDINGS, HEAD, check_lora_fields, is_named, is_shifted

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def adapt_llm(
    llm: "PreTrainedModel", settings: Mapping[str, Any], custom: Mapping[type, type] | None = None
) -> "PeftModel":
    """Wraps an LLM whose embeddings are in it.

    Args:
        llm: Changed in place.
        settings: Arguments for ``peft.LoraConfig``, checked by ``nemo_vtb.parts.lora_fields``.
        custom: Which of its classes of layers get LoRA by which class, where PEFT knows none.

    Raises:
        VTBError: If PEFT refuses, or a setting names what the LLM does not have.
    """
    from peft import LoraConfig, get_peft_model

    names = [name for name, _ in llm.named_modules()]
    config = dict(settings)
    if is_shifted(config):
        config["init_lora_weights"] = True
    try:
        of_peft = LoraConfig(**config)
        if custom:
            of_peft._register_custom_module(dict(custom))
        wrapped = get_peft_model(llm, of_peft)
        _check_found(wrapped.base_model.model, settings, names, "model.lora")
        _check_ends(llm, settings)
        if is_shifted(settings):
            shift_adapters(wrapped, settings)
    except (ValueError, TypeError, KeyError, NotImplementedError, AttributeError) as error:
        raise VTBError(f"model.lora: {first_line(error)}") from error
    leave_casts_to_autocast(wrapped)
    return wrapped


def adapt_encoder(encoder: nn.Module, section: Mapping[str, Any]) -> None:
    """Puts LoRA into a speech encoder, whose other weights are frozen; their names gain ``.base_layer``.

    Args:
        encoder: Changed in place.
        section: ``model.encoder_lora``: fields of ``peft.LoraConfig``; ``target_modules: auto`` is all linear layers.

    Raises:
        VTBError: See ``adapt_llm``.
    """
    from peft import LoraConfig, inject_adapter_in_model

    where = "model.encoder_lora"
    settings = check_lora_fields(section, where)
    settings.pop("task_type", None)
    if is_shifted(settings):
        raise VTBError(f"{where}.init_lora_weights={settings['init_lora_weights']} is not supported: use true")
    if settings.get("target_modules", "auto") == "auto":
        settings["target_modules"] = [name for name, part in encoder.named_modules() if isinstance(part, nn.Linear)]
    names = [name for name, _ in encoder.named_modules()]
    try:
        inject_adapter_in_model(LoraConfig(**settings), encoder)
        _check_found(encoder, settings, names, where)
    except (ValueError, TypeError, KeyError, NotImplementedError, AttributeError) as error:
        raise VTBError(f"{where}: {first_line(error)}") from error
    leave_casts_to_autocast(encoder)


def merge_into(module: nn.Module) -> None:
    """Adds LoRA to the weights of a module and takes it out, names included.

    Raises:
        VTBError: If it cannot be added.
    """
    from peft.tuners.lora import LoraLayer

    for name, layer in [(name, part) for name, part in module.named_modules() if isinstance(part, LoraLayer)]:
        try:
            layer.merge(safe_merge=True)  # type: ignore[attr-defined]
        except (ValueError, NotImplementedError, RuntimeError) as error:
            raise VTBError(f"LoRA of {name} cannot be merged: {first_line(error)}") from error
        parent, _, own = name.rpartition(".")
        setattr(module.get_submodule(parent), own, layer.get_base_layer())


def trained_by_lora(module: nn.Module, prefix: str = "") -> set[str]:
    """Names of the parameters that PEFT left trainable: LoRA, biases, modules to save."""
    return {prefix + name for name, parameter in module.named_parameters() if parameter.requires_grad}


def _check_found(module: nn.Module, settings: Mapping[str, Any], names: list[str], where: str) -> None:
    """Refuses settings that name nothing; PEFT itself takes most of them in silence."""
    from peft.tuners.lora import LoraLayer
    from peft.utils.other import ModulesToSaveWrapper

    adapted = {name.replace(".base_layer", "") for name, part in module.named_modules() if isinstance(part, LoraLayer)}
    copied = {name for name, part in module.named_modules() if isinstance(part, ModulesToSaveWrapper)}
    for one in settings.get("modules_to_save", ()):
        if not any(is_named(name, [one]) for name in copied):
            raise VTBError(f"{where}.modules_to_save: there is no module named {one}")
    excluded = settings.get("exclude_modules", ())
    for one in [excluded] if isinstance(excluded, str) else excluded:
        if not any(is_named(name, one if isinstance(excluded, str) else [one]) for name in names):
            raise VTBError(f"{where}.exclude_modules: there is no module named {one}")
    for key in ("rank_pattern", "alpha_pattern"):
        for pattern in settings.get(key, {}):
            if not any(re.match(rf"(.*\.)?({pattern})$", name) for name in adapted):
                raise VTBError(f"{where}.{key}: nothing that LoRA adapts is named {pattern}")
    layers = settings.get("layers_to_transform", [])
    for at in layers if isinstance(layers, list | tuple) else [layers]:
        if not any(f".{at}." in f".{name}." for name in adapted):
            raise VTBError(f"{where}.layers_to_transform: LoRA adapts nothing in layer {at}")
    parameters = {name.replace(".base_layer", "") for name, _ in module.named_parameters()}
    for one in settings.get("target_parameters", ()):
        if not any(is_named(name, [one]) for name in parameters):
            raise VTBError(f"{where}.target_parameters: there is no parameter named {one}")
    if (kind := settings.get("bias", "none")) != "none":
        trained = [name for name, p in module.named_parameters() if p.requires_grad and ".lora_" not in name]
        if not any("bias" in name.rpartition(".")[2] for name in trained):
            raise VTBError(f"{where}.bias={kind}: there is no bias to train in what LoRA adapts; leave it at none")


def _check_ends(llm: nn.Module, settings: Mapping[str, Any]) -> None:
    """Refuses an adapted embedding table, and a head that shares the table's weights."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    ends = {
        name: part
        for name, part in llm.named_modules()
        if isinstance(part, BaseTunerLayer | AuxiliaryTrainingWrapper) and ".lora_" not in name
    }
    table: Any = llm.get_input_embeddings()  # type: ignore[operator]
    if any(part is table or isinstance(_inside(part), nn.Embedding) for part in ends.values()):
        raise VTBError(
            "model.lora: the embeddings cannot be adapted, as they stand outside of the LLM, where NeMo's SALM has "
            f"them; leave {EMBEDDINGS} out, or train them whole by leaving them out of model.freeze_params"
        )
    shared: dict[int, str] = {}
    for name, part in ends.items():
        weight = getattr(_inside(part), "weight", None)
        if weight is not None and shared.setdefault(id(weight), name) != name:
            raise VTBError(
                f"model.lora adapts {name}, which shares its weights with {shared[id(weight)]} in this LLM, so that "
                "one cannot be trained, merged or exported without the other; leave both out"
            )
    head = adapted_head(llm)
    if head is not None and _inside(head).weight is table.weight:
        raise VTBError(
            f"model.lora adapts {HEAD}, which shares its weights with the embeddings in this LLM, so that one cannot "
            f"be trained, merged or exported without the other; leave {HEAD} out"
        )


def adapted_head(llm: Any) -> nn.Module | None:
    """The LLM's head, where LoRA adapts it or has a copy of it; else None."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    head = llm.get_output_embeddings()
    return head if isinstance(head, BaseTunerLayer | AuxiliaryTrainingWrapper) else None


def _inside(part: Any) -> Any:
    return part.original_module if hasattr(part, "original_module") else part.get_base_layer()
