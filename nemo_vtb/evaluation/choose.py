"""What the options of multiple choice cost an LLM: the question is read once, its options go on from there."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nemo_vtb.evaluation.sets.choices import Choice, common_start
from nemo_vtb.models.answers.generate import prompt_embeddings
from nemo_vtb.parts.eval_mode import evaluating
from nemo_vtb.parts.prompts.encoded import EncodedConversation
from nemo_vtb.parts.prompts.turn_mask import encode_turns, without_tag

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender

_NO_CLIPS: dict[str, Any] = {"audios": torch.zeros(0), "audio_lens": torch.zeros(0, dtype=torch.long)}


@torch.no_grad()
def option_nats(
    model: "VoiceTextBlender", choices: Sequence[Choice], at_once: int = 16, bar: Any = None
) -> list[list[float]]:
    """Negative log-likelihood of each option as the assistant's answer, in nats, without the end of the turn.

    Args:
        model: Put in evaluation mode and back; where LoRA is gated, it is off, as in any conversation without audio.
        choices: The questions.
        at_once: Questions of one batch.
        bar: A progress bar to be moved on by the questions.

    Returns:
        For each question one number per option.
    """
    encoded = [_encoded(model, choice) for choice in choices]
    # A batch is padded to its longest question.
    order = sorted(range(len(choices)), key=lambda place: len(encoded[place][0].input_ids))
    found: list[list[float]] = [[] for _ in choices]
    from_cache = model.backbone.pads and model.backbone.caches
    gate = model.backbone.without_lora() if model.gated else nullcontext()
    with evaluating(model), model.arithmetic(), gate:
        for start in range(0, len(order), at_once):
            part = order[start : start + at_once]
            batch = [encoded[place] for place in part]
            nats = _continued(model, batch) if from_cache else _packed(model, batch)
            for place, costs in zip(part, nats, strict=True):
                found[place] = costs
            if bar is not None:
                bar.update(len(part))
    return found


def _encoded(model: "VoiceTextBlender", choice: Choice) -> list[EncodedConversation]:
    """The question with each option, up to the option's last word; that word's tokens and those before it count."""
    rows = []
    for option in choice.options:
        turns = [(role, without_tag(text, model.audio_locator_tag)) for role, text in
                 (("user", choice.prompt), ("assistant", option))]  # fmt: skip
        encoded = encode_turns(turns, model.formatter)
        said = np.flatnonzero(encoded.loss_mask)
        end = int(said[-1])
        rows.append(EncodedConversation(encoded.input_ids[:end], encoded.loss_mask[:end]))
    return rows


def _continued(model: "VoiceTextBlender", batch: Sequence[Sequence[EncodedConversation]]) -> list[list[float]]:
    """With what is common to a question's options in a cache."""
    from transformers import DynamicCache

    backbone = model.backbone
    starts, asked = [], []
    for rows in batch:
        first = min(int(row.loss_mask.argmax()) for row in rows)
        start = min(common_start([row.input_ids.tolist() for row in rows]), first)
        starts.append(start)
        asked.append(rows[0].input_ids[:start])
    prompts = prompt_embeddings(model, asked, _NO_CLIPS)
    cache = DynamicCache(config=backbone.causal_lm.config)
    last = backbone.cached_hidden_states(prompts.embeds, prompts.mask, cache, prompts.ids)[:, -1:]
    owners = [number for number, rows in enumerate(batch) for _ in rows]
    options = [(row, starts[number]) for number, rows in enumerate(batch) for row in rows]
    cache.batch_select_indices(torch.tensor(owners, device=last.device))
    tails = [row.input_ids[start:] for row, start in options]
    width = max(map(len, tails))
    ids: np.ndarray = np.zeros((len(tails), width), dtype=np.int64)
    counted: np.ndarray = np.zeros((len(tails), width), dtype=bool)
    there: np.ndarray = np.zeros((len(tails), width), dtype=np.int64)
    for number, (tail, (row, start)) in enumerate(zip(tails, options, strict=True)):
        ids[number, : len(tail)], there[number, : len(tail)] = tail, 1
        counted[number, : len(tail)] = row.loss_mask[start:]
    said, mask = torch.from_numpy(ids).to(last.device), torch.from_numpy(there).to(last.device)
    hidden = last[owners]
    if width > 1:
        embeds = backbone.embed(said[:, :-1].flatten()).unflatten(0, (len(tails), width - 1))
        seen = torch.cat([prompts.mask[owners], mask[:, :-1]], dim=1)
        hidden = torch.cat([hidden, backbone.cached_hidden_states(embeds, seen, cache, said[:, :-1])], dim=1)
    keep = torch.from_numpy(counted).to(last.device)
    losses, _ = backbone.losses(hidden[keep], said[keep])
    rows_of: np.ndarray = np.repeat(np.arange(len(tails)), counted.sum(axis=1))
    return _by_question(losses, rows_of, batch)


def _packed(model: "VoiceTextBlender", batch: Sequence[Sequence[EncodedConversation]]) -> list[list[float]]:
    """Each option behind a question of its own, for LLMs that padding or a cache would mislead."""
    flat = [row for rows in batch for row in rows]
    embeds, layout = model.embed_packed(flat, None, [], None)
    hidden = model.hidden_states(embeds, layout).flatten(0, 1)
    picked = hidden.index_select(0, torch.from_numpy(layout.predict_from).to(model.device))
    losses, _ = model.backbone.losses(picked, torch.from_numpy(layout.targets).to(model.device))
    return _by_question(losses, layout.target_owner, batch)


def _by_question(
    losses: torch.Tensor, owners: np.ndarray, batch: Sequence[Sequence[EncodedConversation]]
) -> list[list[float]]:
    sums = np.bincount(owners, losses.double().cpu().numpy(), minlength=sum(map(len, batch)))
    ends = np.cumsum([len(rows) for rows in batch])
    return [part.tolist() for part in np.split(sums, ends[:-1])]
