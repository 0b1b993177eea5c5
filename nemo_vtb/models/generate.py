"""Answers to text, speech and mixed prompts, batched, with padding masked by length and never by token value."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nemo.collections.speechlm2.models.salm import _resolve_audios_in_prompt
from torch import Tensor
from transformers import GenerationConfig

from nemo_vtb.errors import VTBError
from nemo_vtb.parts.turn_mask import encode_turns, end_of_turn_id

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM


@torch.no_grad()
def generate_answers(
    model: "SALM",
    prompts: list[list[dict[str, Any]]] | Tensor,
    audios: Tensor | None = None,
    audio_lens: Tensor | None = None,
    generation_config: GenerationConfig | None = None,
    **generation_kwargs: Any,
) -> Tensor:
    """Generates one answer per prompt; see ``VoiceTextBlender.generate``.

    Raises:
        VTBError: If placeholders and clips do not match.
    """
    if isinstance(prompts, Tensor):
        rows = [row[int((row != model.text_pad_id).int().argmax()) :].cpu().numpy() for row in prompts]
    else:
        if audios is None and (resolved := _resolve_audios_in_prompt(prompts, model.sampling_rate, model.device)):
            audios, audio_lens = resolved
        turns = [[(turn["role"], turn["content"]) for turn in prompt] for prompt in prompts]
        rows = [encode_turns(conversation, model.formatter, for_generation=True).input_ids for conversation in turns]
    batch: dict[str, Any] = {"audios": torch.zeros(0), "audio_lens": torch.zeros(0, dtype=torch.long)}
    if audios is not None:
        batch = {"audios": audios, "audio_lens": audio_lens}
    embeds, attention_mask = prompt_embeddings(model, rows, batch)
    config = generation_config or default_generation_config(model, **generation_kwargs)
    extra = generation_kwargs if generation_config is not None else {}
    return model.backbone.generate(embeds, attention_mask, config, row_gate(model, rows), **extra)


def default_generation_config(model: "SALM", **options: Any) -> GenerationConfig:
    """Greedy unless ``options`` say otherwise, ending at the format's end of turn or the tokenizer's end of text."""
    stops = sorted({end_of_turn_id(model.formatter), model.tokenizer.eos_id})
    fixed = {"bos_token_id": model.text_bos_id, "eos_token_id": stops, "pad_token_id": stops[0]}
    return GenerationConfig(**{"do_sample": False, **fixed, **options})


def row_gate(model: "SALM", rows: Sequence[np.ndarray]) -> Tensor | None:
    """``(B, 1, 1)``: 1 for prompts with audio, 0 for others, where the model gates LoRA; else None."""
    if not model.gated:
        return None
    speech = [float((row == model.audio_locator_tag_id).any()) for row in rows]
    return torch.tensor(speech, device=model.device)[:, None, None]


def prompt_embeddings(model: "SALM", rows: Sequence[np.ndarray], batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Left-padded embeddings ``(B, T, H)`` and attention mask ``(B, T)`` of prompts with clips spliced in.

    Raises:
        VTBError: If placeholders and clips do not match.
    """
    frames, counts = model.encode_clips(batch)
    placeholders = sum(int((row == model.audio_locator_tag_id).sum()) for row in rows)
    if placeholders != len(counts):
        raise VTBError(f"the prompts hold {placeholders} audio placeholders for {len(counts)} clips")
    clips = iter(frames.split(counts) if frames is not None else [])
    spliced = []
    for row in rows:
        pieces, start = [], 0
        embeds = model.backbone.embed(
            torch.from_numpy(np.where(row == model.audio_locator_tag_id, 0, row)).to(model.device)
        )
        for place in np.flatnonzero(row == model.audio_locator_tag_id):
            pieces += [embeds[start:place], next(clips).to(embeds.dtype)]
            start = int(place) + 1
        spliced.append(torch.cat([*pieces, embeds[start:]]))
    longest = max(len(embeds) for embeds in spliced)
    padded = spliced[0].new_zeros(len(spliced), longest, spliced[0].shape[-1])
    mask = torch.zeros(len(spliced), longest, dtype=torch.long, device=padded.device)
    for index, embeds in enumerate(spliced):
        padded[index, longest - len(embeds) :] = embeds
        mask[index, longest - len(embeds) :] = 1
    return padded, mask
