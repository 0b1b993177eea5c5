"""``vtb export``: a checkpoint as safetensors, in the forms that NeMo, Transformers, vLLM, PEFT and ``vtb`` read."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import open_dict
from torch import nn

from nemo_vtb.assets.catalog import CATALOG
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import first_line
from nemo_vtb.inference.card.data import data_of, sources_without_licence
from nemo_vtb.inference.card.text import loses_gate, without_text
from nemo_vtb.inference.card.write import Facts, part_of, read_report, trained_sizes, write_model_card
from nemo_vtb.inference.hf.folder import named_section, write_whole
from nemo_vtb.models.checkpoints.contents import kept_state
from nemo_vtb.models.checkpoints.slim import read_trained, steps_before, steps_of, write_slim
from nemo_vtb.modules.lora.install import merge_into
from nemo_vtb.modules.lora.plain import join_initial, not_plain, single_scale
from nemo_vtb.modules.lora.shifted import INITIAL

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

FORMS = ("hf", "adapter", "merged", "slim")
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class CardInputs:
    """What a model card says that a checkpoint may not hold.

    Attributes:
        report: Path of an ``eval.json``.
        blend: The data's section ``blend``, for checkpoints written before they held it.
        llm: The name of the LLM for others, where the checkpoint names a folder.
        encoder: Likewise of the speech encoder.
    """

    report: str | None = None
    blend: Mapping[str, Any] | None = None
    llm: str | None = None
    encoder: str | None = None


def export(
    checkpoint: str, form: str, out: str, dtype: str = "bfloat16", inputs: CardInputs | None = None
) -> list[str]:
    """Writes a checkpoint as a folder, with a model card.

    Args:
        checkpoint: A ``.ckpt`` file, or a folder written with ``slim``.
        form: ``hf``: all weights with LoRA beside, for ``VoiceTextBlender.from_pretrained`` and Transformers.
            ``merged``: with LoRA in the LLM's weights, for NeMo's vLLM plugin. ``adapter``: what was trained, LoRA as
            PEFT has it. ``slim``: what was trained, for ``vtb``; see ``nemo_vtb.models.checkpoints.slim``.
        out: The folder.
        dtype: Of the stored weights.
        inputs: For the card.

    Returns:
        Notes for the user.

    Raises:
        VTBError: If there is no such form, the checkpoint is none, its LoRA was never trained, the report is of another
            model, or nobody gets a model by a name for the card.
    """
    from nemo_vtb.models.load import load_checkpoint

    if form not in FORMS:
        raise VTBError(f"there is no form {form!r} of an export; there are {', '.join(FORMS)}")
    inputs = inputs or CardInputs()
    for option, name in {"--llm": inputs.llm, "--encoder": inputs.encoder}.items():
        _require_reachable(option, name)
    model = load_checkpoint(checkpoint, quantized=False).float()
    _require_trained_lora(model, checkpoint)
    read = read_trained(checkpoint)
    facts = _facts(model, read, form, dtype, inputs)
    _make_plain(model, read, form)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    notes = [
        f"no licence is stated for {name}: put a README.md with `license:` in its YAML front matter beside it"
        for name in sources_without_licence(facts.data)
    ]
    if form == "hf" and (setting := not_plain(model.cfg.get("lora"))):
        notes.append(f"readers of plain LoRA do not know model.lora.{setting}; for them, export with --to merged")
    if read["hyper_parameters"]["cfg"].get("quantization") is not None and form in ("hf", "merged"):
        notes.append("LoRA was trained on a quantised LLM; the folder holds the LLM in full")
    if facts.data is None:
        notes.append("the checkpoint does not say what it was trained on; --config-name NAME says it for the card")
    if form == "slim":
        names = {"pretrained_llm": inputs.llm, "pretrained_asr": inputs.encoder}
        write_slim(model, read, folder, getattr(torch, dtype), names, facts.data)
    elif form == "adapter":
        _save_adapter(model, folder, getattr(torch, dtype), facts)
    else:
        if form == "merged":
            if model.gated:
                notes.append("LoRA is in the weights now and acts on text too, where model.text_lora kept it out")
            merge_lora(model)
        names = {"pretrained_llm": inputs.llm, "pretrained_asr": inputs.encoder}
        notes += write_whole(model, folder, dtype, form == "merged", names)
    write_model_card(facts, folder)
    return notes


def merge_lora(model: "VoiceTextBlender") -> None:
    """Adds LoRA to the LLM's weights and takes it out of model and config.

    Raises:
        VTBError: If the model has no LoRA.
    """
    if not hasattr(model.llm, "peft_config"):
        raise VTBError("nothing to merge: the checkpoint has no LoRA; use --to hf")
    try:
        model.llm = model.llm.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, NotImplementedError) as error:
        raise VTBError(f"LoRA cannot be merged: {first_line(error)} Use --to hf or adapter.") from error
    # PEFT leaves its mark on the model it was taken off.
    del model.llm.peft_config
    model.gated = False
    with open_dict(model.cfg):
        # The last two need an untouched LLM beside the tuned one.
        for key in ("lora", "text_lora", "text_kl"):
            model.cfg.pop(key, None)


def _make_plain(model: "VoiceTextBlender", read: dict[str, Any], form: str) -> None:
    """Brings LoRA into the form that the readers of a folder know; see ``nemo_vtb.modules.lora.plain``."""
    if model.cfg.get("encoder_lora") is not None and form in ("hf", "merged"):
        merge_into(model.perception.encoder)
        with open_dict(model.cfg):
            model.cfg.pop("encoder_lora")
    if not hasattr(model.llm, "peft_config"):
        return
    changed = join_initial(model.llm)
    if changed and form == "slim":
        read["state_dict"] = kept_state(model, model.state_dict())
        read["hyper_parameters"]["cfg"]["lora"] = {**read["hyper_parameters"]["cfg"]["lora"], **changed}
    if form == "hf":
        changed = (changed or {}) | (single_scale(model.llm) or {})
    with open_dict(model.cfg):
        for key, value in (changed or {}).items():
            model.cfg.lora[key] = value


def _require_reachable(option: str, name: str | None) -> None:
    # Whoever reads the folder loads the model by this name.
    if name is None or name in CATALOG or _HUB_ID.fullmatch(name) or (name and Path(name).is_dir()):
        return
    files = " or .nemo file" if option == "--encoder" else ""
    if files and name.endswith(".nemo") and Path(name).is_file():
        return
    raise VTBError(
        f"{option} {name!r}: nobody gets a model by that; ORG/NAME of the hub, a name of vtb assets list, "
        f"or a folder{files} that is there"
    )


def _require_trained_lora(model: nn.Module, checkpoint: str) -> None:
    state = model.state_dict()
    ups = {name: tensor for name, tensor in state.items() if ".lora_B.default." in name}
    # PiSSA and OLoRA begin where the adapter that takes their beginning away stands.
    began = {name: state.get(name.replace(".default.", f".{INITIAL}.")) for name in ups}
    if ups and not any((up if began[name] is None else up + began[name]).any() for name, up in ups.items()):
        raise VTBError(f"{checkpoint}: every LoRA up-projection is as before training; nothing was learnt")


def _facts(model: "VoiceTextBlender", read: Mapping[str, Any], form: str, dtype: str, inputs: CardInputs) -> Facts:
    section = read["hyper_parameters"]["cfg"]
    encoder = section.get("pretrained_asr") or section["perception"].get("encoder", {}).get("_target_", "")
    report = read_report(inputs.report, section, Path(model.cfg.pretrained_llm).name) if inputs.report else None
    if report and loses_gate(form, section):
        report = without_text(report)
    return Facts(
        form=form,
        section=section,
        llm=part_of(section["pretrained_llm"], inputs.llm),
        encoder=part_of(encoder, inputs.encoder),
        steps=steps_of(read),
        steps_before=steps_before(read),
        trained=trained_sizes(model),
        dtype=dtype,
        data=data_of(read["vtb"].get("trained_on"), read["vtb"].get("blend") or inputs.blend),
        report=report,
    )


def _save_adapter(model: "VoiceTextBlender", folder: Path, dtype: torch.dtype, facts: Facts) -> None:
    from safetensors.torch import save_file

    config = named_section(model, {"pretrained_llm": facts.llm.hub_id, "pretrained_asr": facts.encoder.hub_id})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    trained = set(model.trainable_names)
    if hasattr(model.llm, "peft_config"):
        trained -= {name for name in trained if name.startswith("llm.")}
        peft_config = model.llm.peft_config["default"]
        if facts.llm.hub_id:
            peft_config.base_model_name_or_path = facts.llm.hub_id
        if peft_config.bias == "lora_only":
            # PEFT 0.18 looks for these biases by a name that its own layers no longer give them, and writes none.
            peft_config.bias = "all"
        # The embeddings are not in the LLM here, so PEFT cannot look whether they were trained; they are not.
        model.llm.to(dtype).save_pretrained(folder, save_embedding_layers=False)
    state = {name: tensor for name, tensor in model.state_dict().items() if name in trained}
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in state.items()}, folder / "speech.safetensors")
