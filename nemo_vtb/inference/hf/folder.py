"""A folder with the whole model that stands alone: NeMo, Transformers and vLLM read it anywhere."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf

from nemo_vtb.assets.catalog import CATALOG
from nemo_vtb.assets.names import portable_name
from nemo_vtb.errors import VTBError
from nemo_vtb.inference.hf.vllm_command import LORA_DIR
from nemo_vtb.parts.frame_rule import FrameRule, measured_rule
from nemo_vtb.parts.prompts.control_tokens import control_tokens
from nemo_vtb.parts.prompts.exported_template import exported_template
from nemo_vtb.parts.prompts.turn_mask import encode_turns, stop_ids

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

# Keys of the section ``model`` that name files of the machine it was trained on, or what that one computes with.
_OF_MACHINE = ("encoder_cache", "retention", "attn_implementation")
_TALKS: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "What is said here? AUDIO"),),
    (("user", "AUDIO Hello, AUDIO"), ("assistant", "Yes, it is.\n\nIt is."), ("user", "  And AUDIO ?\n")),
    (("system", "Be brief."), ("user", 'Name 3 things: α, 7 & "x"')),
)


def write_whole(
    model: "VoiceTextBlender", folder: Path, dtype: str, merged: bool, names: Mapping[str, str | None]
) -> list[str]:
    """Writes weights, configs, tokenizer, chat template and processor.

    Args:
        model: As it is to be written.
        folder: It exists.
        dtype: Of the stored weights.
        merged: Whether it is for NeMo's vLLM plugin; else for Transformers and our own class for vLLM.
        names: By key of the section ``model``, what others get a folder of this machine by.

    Returns:
        Notes for the user.
    """
    from nemo.collections.speechlm2.parts.hf_hub import LLM_BACKBONE_DIR

    notes = []
    config = named_section(model, names)
    for key in _OF_MACHINE:
        config.pop(key, None)
    config |= {"dtype": dtype, "torch_dtype": dtype}
    if "pretrained_weights" in config["perception"]["encoder"]:
        # NeMo's vLLM plugin builds this section as it stands, where the encoder's own folder may not be.
        config["perception"]["encoder"]["pretrained_weights"] = False
    if not _reachable(config["pretrained_llm"]):
        config["pretrained_llm"] = str((folder / LLM_BACKBONE_DIR).resolve())
        if merged:
            notes.append(
                f"NeMo's vLLM plugin reads the LLM's config where config.json says, {config['pretrained_llm']}: keep "
                "the folder there, or say what others get the LLM by with --llm ORG/NAME"
            )
    rule = frame_rule(model)
    if merged:
        if not config.get("encoder_chunk_size_seconds") and getattr(model.perception.encoder, "max_frames", None):
            # Its encoder refuses a longer clip, at which vLLM would end.
            config["encoder_chunk_size_seconds"] = model.clip_encoder.most_samples / model.sampling_rate
    else:
        notes += _for_transformers(model, config, rule)
    template, controls = _template(model)
    tokenizer = model.tokenizer.tokenizer
    notes += _other_ids(model, template)
    model.to(getattr(torch, dtype))
    model.save_pretrained(folder, config=config)
    # The names NeMo's own export has, which `from_pretrained` looks for beside the weights.
    model.backbone.causal_lm.config.save_pretrained(folder / LLM_BACKBONE_DIR)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    stops = stop_ids(model.formatter)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": stops}) + "\n")
    if not merged:
        if model.gated:
            # What vLLM loads for requests with a recording alone; the weights have it for the others.
            model.llm.peft_config["default"].base_model_name_or_path = config["pretrained_llm"]
            model.llm.save_pretrained(folder / LORA_DIR, save_embedding_layers=False)
            # PEFT's, which knows nothing of the model; the folder has one.
            (folder / LORA_DIR / "README.md").unlink(missing_ok=True)
        about = {
            "processor_class": "VoiceTextBlenderProcessor",
            "audio_token": model.audio_locator_tag,
            "sampling_rate": model.sampling_rate,
            "frame_rule": None if rule is None else asdict(rule),
            "controls": controls,
        }
        (folder / "processor_config.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return notes


def named_section(model: "VoiceTextBlender", names: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """The section ``model`` in full, its models by what everybody gets them by, where that is known."""
    config: dict[str, Any] = OmegaConf.to_container(model.cfg, resolve=True)  # type: ignore[assignment]
    encoder = config["perception"]["encoder"]
    named = {"pretrained": "pretrained_asr"}
    for holder, key in ((config, "pretrained_llm"), (config, "pretrained_asr"), (encoder, "pretrained")):
        if holder.get(key):
            known = (names or {}).get(named.get(key, key)) or portable_name(holder[key]) or holder[key]
            holder[key] = CATALOG[known].hub_id or known if known in CATALOG else known
    return config


@torch.no_grad()
def frame_rule(model: "VoiceTextBlender") -> FrameRule | None:
    """Measures how many frames the model makes of clips; None where that does not follow from their length."""

    def count(samples: int) -> int:
        clip = {"audios": torch.zeros(1, samples, device=model.device), "audio_lens": torch.tensor([samples])}
        return model.encode_clips(clip)[1][0]

    chunk = model.cfg.get("encoder_chunk_size_seconds")
    if not chunk:
        return measured_rule(count, model.clip_encoder.most_samples)
    hop = model.perception.preprocessor.featurizer.hop_length
    return measured_rule(count, max(1, round(chunk * model.sampling_rate)), equal=False, least_piece=2 * hop)


def _for_transformers(model: "VoiceTextBlender", config: dict[str, Any], rule: FrameRule | None) -> list[str]:
    from nemo_vtb.inference.hf.config import ARCHITECTURE, MODEL_TYPE, llm_fields

    config |= {"model_type": MODEL_TYPE, "architectures": [ARCHITECTURE]}
    notes = []
    if config.get("trust_remote_code"):
        notes.append(
            "the LLM comes with code of its own, which Transformers' and vLLM's classes of nemo_vtb do not run"
        )
    else:
        config["llm_config"] = llm_fields(model.backbone.causal_lm.config)
    if rule is None:
        notes.append(
            "frames of this speech encoder do not follow from a clip's length: nemo_vtb.hf and vLLM cannot place "
            "recordings; vtb and VoiceTextBlender.from_pretrained can"
        )
    return notes


def _template(model: "VoiceTextBlender") -> tuple[str, list[str]]:
    found = control_tokens(model.tokenizer, model.formatter)
    inner = model.tokenizer.tokenizer
    spelt = {str(token) for token in inner.all_special_tokens} | set(inner.get_added_vocab())
    controls = sorted(
        (text for text in spelt if found is not None and found.fullmatch(text)), key=lambda t: (-len(t), t)
    )
    return exported_template(model.formatter, model.audio_locator_tag, controls), controls


def _other_ids(model: "VoiceTextBlender", template: str) -> list[str]:
    """Whether the template writes other tokens than training did, in a note."""
    tokenizer, tag = model.tokenizer.tokenizer, model.audio_locator_tag
    for talk in _TALKS:
        turns = [(role, text.replace("AUDIO", tag)) for role, text in talk]
        try:
            trained = encode_turns(turns, model.formatter, for_generation=True).input_ids.tolist()
        except VTBError:
            continue
        messages = [{"role": role, "content": _in_parts(text)} for role, text in talk]
        text = tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=True
        )
        written = tokenizer.encode(text, add_special_tokens=False)
        if written != trained:
            same = next((i for i, pair in enumerate(zip(written, trained, strict=False)) if pair[0] != pair[1]), 0)
            theirs, ours = (tokenizer.decode(ids[max(0, same - 2) : same + 4]) for ids in (written, trained))
            return [f"the chat template is tokenised otherwise than in training: {theirs!r} for {ours!r}"]
    return []


def _in_parts(text: str) -> list[dict[str, str]]:
    pieces = text.split("AUDIO")
    parts: list[dict[str, str]] = []
    for number, piece in enumerate(pieces):
        parts += [{"type": "audio"}] if number else []
        parts += [{"type": "text", "text": piece}] if piece else []
    return parts


def _reachable(name: str) -> bool:
    """Whether a name is one that others can have: a hub id, and no folder."""
    return portable_name(name) is not None and name not in CATALOG
