"""Answers to text, speech and mixed prompts, batched, with padding masked by length and never by token value."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig

from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import blamed_on
from nemo_vtb.models.answers.asked import check_clips, check_prompts, split_options, text_of
from nemo_vtb.models.answers.heard import HeardClips
from nemo_vtb.models.answers.named_audio import audios_of_turns
from nemo_vtb.models.proof import try_out_on_device
from nemo_vtb.models.step.reach import check_ids, room_to_answer
from nemo_vtb.modules.lora.merged import merged_lora
from nemo_vtb.modules.lora.untouched import adapters_off, not_linear
from nemo_vtb.parts.eval_mode import evaluating
from nemo_vtb.parts.prompts.turn_mask import encode_turns, stop_ids

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM


class Prompt(NamedTuple):
    """One prompt, clips spliced in.

    Attributes:
        embeds: ``(T, H)``.
        ids: int64 ``(T,)``, padding where a position is no token.
        keys: int64 ``(T,)`` on the CPU: equal in two prompts of a batch where they hear or read the same.
    """

    embeds: Tensor
    ids: Tensor
    keys: np.ndarray


class Prompts(NamedTuple):
    """Left-padded prompts of a batch.

    Attributes:
        embeds: ``(B, T, H)``, clips spliced in.
        mask: int64 ``(B, T)``, 0 in padding.
        ids: int64 ``(B, T)``, padding where a position is no token.
    """

    embeds: Tensor
    mask: Tensor
    ids: Tensor


@torch.no_grad()
def generate_answers(
    model: "SALM",
    prompts: list[list[dict[str, Any]]] | Tensor,
    audios: Tensor | None = None,
    audio_lens: Tensor | None = None,
    generation_config: GenerationConfig | None = None,
    thinking: bool | None = None,
    **generation_kwargs: Any,
) -> Tensor:
    """Generates one answer per prompt; see ``VoiceTextBlender.generate``.

    Raises:
        VTBError: If prompts, clips or options are none, or a prompt is out of the LLM's reach.
    """
    check_prompts(prompts)
    check_clips(audios, audio_lens)
    if isinstance(prompts, Tensor):
        rows = [row[int((row != model.text_pad_id).int().argmax()) :].cpu().numpy() for row in prompts]
    else:
        if audios is None and (named := audios_of_turns(prompts, model.sampling_rate, model.device)):
            audios, audio_lens = named
        turns = [[(turn["role"], text_of(turn)) for turn in prompt] for prompt in prompts]
        rows = [
            encode_turns(conversation, model.formatter, True, thinking=thinking).input_ids for conversation in turns
        ]
    batch: dict[str, Any] = {"audios": torch.zeros(0), "audio_lens": torch.zeros(0, dtype=torch.long)}
    if audios is not None:
        batch = {"audios": audios, "audio_lens": audio_lens}
    if generation_config is None:
        fields, extra = split_options(generation_kwargs)
        with blamed_on("the options of generate"):
            generation_config = default_generation_config(model, **fields)
    else:
        extra = generation_kwargs
    if generation_config.stop_strings:
        extra.setdefault("tokenizer", model.tokenizer.tokenizer)
    # In the middle of training, dropout and what batch norms learn are no part of an answer.
    with evaluating(model):
        asked = prompt_embeddings(model, rows, batch)
        config = room_to_answer(model, asked.embeds.shape[1], generation_config)
        return model.backbone.generate(asked.embeds, asked.mask, config, row_gate(model, rows), asked.ids, **extra)


def default_generation_config(model: "SALM", **options: Any) -> GenerationConfig:
    """Greedy unless ``options`` say otherwise, ending at the format's end of turn or the tokenizer's end of text."""
    stops = stop_ids(model.formatter)
    fixed = {"bos_token_id": model.text_bos_id, "eos_token_id": stops, "pad_token_id": stops[0]}
    return GenerationConfig(**{"do_sample": False, **fixed, **options})


def row_gate(model: "SALM", rows: Sequence[np.ndarray]) -> Tensor | None:
    """``(B, 1, 1)``: 1 for prompts with audio, 0 for others, where the model gates LoRA; else None."""
    if not model.gated:
        return None
    speech = [float((row == model.audio_locator_tag_id).any()) for row in rows]
    return torch.tensor(speech, device=model.device)[:, None, None]


@contextmanager
def lora_for_prompts(model: Any, speech: bool) -> Iterator[None]:
    """Has LoRA as prompts of one sort need it, at the least cost, for the time of the block.

    Where all of them have it, it is added to the weights; where the gate keeps it out of all of them, it is off.

    Args:
        model: In evaluation mode.
        speech: Whether every prompt has audio; else none has, or the model does not ask.
    """
    try_out_on_device(model)  # looks at LoRA where it is now
    llm = model.backbone.causal_lm
    if not model.gated or speech:
        with merged_lora(llm):
            yield
    elif not_linear(model.llm) is None:
        with adapters_off(llm):
            yield
    else:
        yield


def prompt_embeddings(
    model: "SALM", rows: Sequence[np.ndarray], batch: dict[str, Any], heard: HeardClips | None = None
) -> Prompts:
    """Left-padded embeddings of prompts; see ``spliced_prompts``."""
    prompts = spliced_prompts(model, rows, batch, heard)
    return left_padded([(prompt.embeds, prompt.ids) for prompt in prompts], model.backbone.per_layer.pad)


def left_padded(prompts: Sequence[tuple[Tensor, Tensor]], pad: int) -> Prompts:
    """Prompts of a batch behind padding.

    Args:
        prompts: Embeddings ``(T, H)`` and ids ``(T,)`` of each.
        pad: The id of padding.
    """
    embeds, ids = zip(*prompts, strict=True)
    behind = partial(pad_sequence, batch_first=True, padding_side="left")
    return Prompts(behind(embeds), behind(list(map(torch.ones_like, ids))), behind(ids, padding_value=pad))


def spliced_prompts(
    model: "SALM", rows: Sequence[np.ndarray], batch: dict[str, Any], heard: HeardClips | None = None
) -> list[Prompt]:
    """Embeddings of prompts with clips spliced in.

    Args:
        model: In evaluation mode.
        rows: Token ids of each prompt.
        batch: Its clips.
        heard: Knows clips that were asked about before.

    Raises:
        VTBError: If placeholders and clips do not match, or a token has no embedding.
    """
    try_out_on_device(model)
    check_ids(model, rows)
    frames, counts = model.encode_clips(batch) if heard is None else heard(batch)
    placeholders = sum(int((row == model.audio_locator_tag_id).sum()) for row in rows)
    if placeholders != len(counts):
        raise VTBError(f"the prompts hold {placeholders} audio placeholders for {len(counts)} clips")
    names = batch.get("audio_ids") or list(range(len(counts)))
    numbers: dict[Any, int] = {}
    for name in names:
        numbers.setdefault(name, len(numbers))
    clips = zip(names, frames.split(counts) if frames is not None else [], strict=True)
    spliced = []
    pad = model.backbone.per_layer.pad
    for row in rows:
        ids = torch.from_numpy(row).to(model.device)
        embeds = model.backbone.embed(
            torch.from_numpy(np.where(row == model.audio_locator_tag_id, 0, row)).to(model.device)
        )
        heard_here, written, keys, start = [], [], [], 0
        for place in np.flatnonzero(row == model.audio_locator_tag_id):
            name, clip = next(clips)
            heard_here += [embeds[start:place], clip.to(embeds.dtype)]
            written += [ids[start:place], ids.new_full((len(clip),), pad)]
            # Below the ids of tokens, and another run of numbers for every clip.
            keys += [row[start:place], -1 - (numbers[name] << 32) - np.arange(len(clip))]
            start = int(place) + 1
        spliced.append(
            Prompt(
                torch.cat([*heard_here, embeds[start:]]),
                torch.cat([*written, ids[start:]]),
                np.concatenate([*keys, row[start:]]),
            )
        )
    return spliced
