"""The model card that ``vtb export`` writes: ``README.md`` with the front matter the Hugging Face hub reads."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nemo_vtb.assets.catalog import CATALOG
from nemo_vtb.assets.names import portable_name
from nemo_vtb.errors import VTBError
from nemo_vtb.inference.card.data import NOT_STATED, languages, licence_of, licences, lora_rank, lora_scale
from nemo_vtb.inference.card.leaderboard import leaderboard
from nemo_vtb.inference.card.text import how_to_load, limits, loses_gate, results_table
from nemo_vtb.inference.hf.vllm_command import vllm_command_of_card

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

CARD = "README.md"
_PARTS = {
    "LoRA": ("lora_",),
    "speech adapter": ("perception.modality_adapter.",),
    "speech encoder": ("perception.encoder.",),
    "LLM": ("llm.", "embed_tokens."),
}


@dataclass(frozen=True)
class Part:
    """A pretrained model that ours is made of.

    Attributes:
        name: Under which others get it.
        hub_id: On the Hugging Face hub; empty where it is not known.
        licence: As the catalog states it.
    """

    name: str
    hub_id: str
    licence: str


@dataclass(frozen=True)
class Facts:
    """All a card says that is not in the same words on every card.

    Attributes:
        form: ``hf``, ``merged``, ``adapter`` or ``slim``.
        section: The section ``model`` of the checkpoint.
        llm: The base LLM.
        encoder: The speech encoder.
        steps: Optimizer steps of training.
        steps_before: Those of the runs whose weights it began with.
        trained: Parameters that were trained, by part.
        dtype: Of the stored weights.
        data: See ``nemo_vtb.data.inspection.trained_on.trained_on``; None where it is not known.
        report: ``eval.json``; None where nothing was measured.
    """

    form: str
    section: Mapping[str, Any]
    llm: Part
    encoder: Part
    steps: int
    steps_before: int
    trained: Mapping[str, int]
    dtype: str
    data: Mapping[str, Any] | None
    report: Mapping[str, Any] | None


def part_of(name_or_path: str, name: str | None = None) -> Part:
    """Describes a pretrained model that a config names, by the name ``name`` where that is given."""
    known = name or portable_name(name_or_path) or Path(name_or_path).name
    if asset := CATALOG.get(known):
        return Part(known, asset.hub_id, asset.licence)
    hub_id = known if "/" in known else ""
    of_asset = [asset.licence for asset in CATALOG.values() if asset.hub_id == hub_id and hub_id]
    return Part(known, hub_id, of_asset[0] if of_asset else NOT_STATED)


def trained_sizes(model: "VoiceTextBlender") -> dict[str, int]:
    """Counts the trained parameters by part of the model; what losses alone use is left out."""
    sizes = dict.fromkeys(_PARTS, 0)
    names = set(model.trainable_names)
    for name, parameter in model.named_parameters():
        if name in names and not name.startswith("alignment."):
            part = next((part for part, marks in _PARTS.items() if any(mark in name for mark in marks)), "other")
            sizes[part] = sizes.get(part, 0) + parameter.numel()
    return {part: size for part, size in sizes.items() if size}


def read_report(path: str, section: Mapping[str, Any], llm: str) -> dict[str, Any]:
    """Reads what ``vtb eval`` measured.

    Args:
        path: An ``eval.json``.
        section: The section ``model`` of the checkpoint that is exported.
        llm: Base name of its LLM.

    Raises:
        VTBError: If it is none, or is of a model with another LLM, LoRA rank or ``text_lora``.
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
        measured = report["checkpoint"]
        found = {key: measured[key] for key in ("llm", "lora_rank", "text_lora")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VTBError(f"--eval {path} is no eval.json of `vtb eval`: {type(error).__name__} {error}") from error
    own = {"llm": llm, "lora_rank": lora_rank(section), "text_lora": section.get("text_lora") or "always"}
    if differs := [f"{key} {found[key]}, here {own[key]}" for key in own if found[key] != own[key]]:
        raise VTBError(f"--eval {path} measured another model: {'; '.join(differs)}")
    return report


def write_model_card(facts: Facts, folder: Path) -> Path:
    """Writes ``README.md`` into a folder; it must exist.

    Returns:
        The file.
    """
    from huggingface_hub import ModelCard, ModelCardData

    licence = licence_of([facts.llm.licence, facts.encoder.licence, *licences(facts.data)])
    lora = facts.section.get("lora") is not None
    relation = "adapter" if facts.form in ("slim", "adapter") else "finetune"
    bases = [part.hub_id for part in (facts.llm, facts.encoder) if part.hub_id]
    header = ModelCardData(
        license=licence,
        license_name="see-the-card" if licence == "other" else None,
        license_link=CARD if licence == "other" else None,
        base_model=bases or None,
        base_model_relation=relation if bases else None,
        library_name="nemo",
        pipeline_tag="audio-text-to-text",
        language=languages(facts.data) or None,
        tags=["voicetextblender", "nemo-vtb", "speech", "automatic-speech-recognition", *(["lora"] if lora else [])],
    )
    vllm = vllm_command_of_card(folder) if facts.form in ("hf", "merged") else None
    card = ModelCard(f"---\n{header.to_yaml()}\n---\n\n" + "\n".join(_body(facts, licence, vllm)))
    path = folder / CARD
    card.save(path)
    return path


def _body(facts: Facts, licence: str, vllm: str | None) -> Iterator[str]:
    yield f"# {facts.llm.name} that hears"
    yield ""
    yield (
        f"A VoiceTextBlender ([arXiv 2410.17485](https://arxiv.org/abs/2410.17485)): {_linked(facts.llm)} answers "
        f"conversations of written and spoken turns, which it hears through {_linked(facts.encoder)} and a trained "
        "adapter. Made with nemo-vtb, a plugin for NVIDIA NeMo."
    )
    yield from ("", "## How to load it", "", *how_to_load(facts.form, vllm))
    yield from ("", "## Parts", "", "| part | what | licence |", "|---|---|---|")
    yield f"| LLM | {_linked(facts.llm)} | {facts.llm.licence} |"
    yield f"| speech encoder | {_linked(facts.encoder)} | {facts.encoder.licence} |"
    yield ""
    total = sum(facts.trained.values())
    each = ", ".join(f"{part} {size / 1e6:.2f} M" for part, size in facts.trained.items())
    after = f" after {facts.steps_before} of the runs it began from" if facts.steps_before else ""
    yield f"Trained: {total / 1e6:.2f} M parameters ({each}), {facts.steps} steps{after}; all else is as published."
    yield f"Weights here are {facts.dtype}. {_lora_words(facts)}"
    yield from ("", "## Training data", "", *_data_lines(facts.data))
    if facts.steps_before:
        yield from ("", "Of the last run; those it began from may have been trained on other data.")
    yield from ("", "## Measured", "", *results_table(facts.report))
    yield from leaderboard(facts.report)
    yield from ("", "## Limits", "", *limits(facts.form, facts.section, languages(facts.data), facts.report))
    yield from ("", "## Licence", "", _licence_words(licence), "")


def _lora_words(facts: Facts) -> str:
    lora = facts.section.get("lora")
    if lora is None:
        return "There is no LoRA: the LLM is untouched."
    rank, scale = lora_rank(facts.section), lora_scale(facts.section)
    words = f"LoRA: rank {rank}, scale {scale:g}, on {_targets(lora.get('target_modules'))}"
    if facts.form == "merged":
        return f"{words}, merged into the LLM, so that it acts on text too."
    if loses_gate(facts.form, facts.section):
        return f"{words}; trained with `text_lora: audio_gated`, but as PEFT loads it, it acts on text too."
    if facts.section.get("text_lora") == "audio_gated":
        return f"{words}; `text_lora: audio_gated`: conversations without audio are answered by the untouched LLM."
    return f"{words}; `text_lora: always`: it acts on conversations without audio too."


def _targets(targets: Any) -> str:
    return ", ".join(targets) if isinstance(targets, list | tuple) else str(targets or "auto")


def _data_lines(data: Mapping[str, Any] | None) -> Iterator[str]:
    if data is None:
        yield "The checkpoint does not say what it was trained on."
        return
    yield from ("| kind | share | sources | licence |", "|---|---|---|---|")
    for kind, section in data["kinds"].items():
        names = "; ".join(f"`{source['name']}`" for source in section["sources"])
        stated = sorted({name for source in section["sources"] for name in source["licences"] or [NOT_STATED]})
        yield f"| {kind} | {_share(section['share'])} | {names} | {', '.join(stated)} |"
    yield from ("", f"Shares are of {data['unit'].replace('_', ' ')}.")


def _share(share: Any) -> str:
    if isinstance(share, Mapping):
        return ", ".join(f"{value} at step {step}" for step, value in share.items())
    return str(share)


def _linked(part: Part) -> str:
    return f"[{part.hub_id}](https://huggingface.co/{part.hub_id})" if part.hub_id else part.name


def _licence_words(licence: str) -> str:
    if licence == "other":
        return (
            "A licence above is not stated, or asks for more than credit: settle it, then replace `license: other` "
            "before you pass these weights on."
        )
    return (
        f"`{licence}`, the strictest that the LLM, the encoder and the data named above ask for. The frozen parts stay "
        "under their own licences; keep the credits that the sources of the data ask for."
    )
