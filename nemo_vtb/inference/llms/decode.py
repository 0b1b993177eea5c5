"""Decoding a batch of prompts with a Hugging Face LLM, each row with settings and chance of its own."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from nemo_vtb.inference.llms.interface import Reply, Sampling

# The text so far of a row that ends here, as it shall be kept; None goes on.
Cut = Callable[[str], str | None]
_HEAD = 512


class Guide(Protocol):
    """Says which tokens may come next in a row."""

    def allowed(self) -> Any:
        """Returns a bool tensor ``(vocabulary,)``; it may be longer than the logits."""
        ...

    def take(self, token: int) -> bool:
        """Takes note of the token that was chosen; returns whether the text is complete with it."""
        ...


def cut_at(stop: Sequence[str]) -> Cut | None:
    """Returns what ends a row before the first of some texts; None without any."""
    if not stop:
        return None

    def cut(text: str) -> str | None:
        places = [place for place in (text.find(end) for end in stop) if place >= 0]
        return text[: min(places)] if places else None

    return cut


def decode(
    model: Any,
    tokenizer: Any,
    batch: Any,
    sampling: Sequence[Sampling],
    ends: Collection[int],
    cuts: Sequence[Cut | None],
    guides: Sequence[Guide | None] | None = None,
) -> list[Reply]:
    """Continues every row to its end; rows that are done leave the batch, so short ones cost little.

    Args:
        model: A Hugging Face causal LM.
        tokenizer: Its tokenizer.
        batch: ``input_ids`` and ``attention_mask``, int64 ``(rows, tokens)``, padded on the left.
        sampling: Of each row; its ``stop`` and ``schema`` are the business of ``cuts`` and ``guides``.
        ends: Tokens that end a row and are not part of it.
        cuts: What else ends a row.
        guides: What restricts a row.

    Returns:
        One reply per row. Special tokens inside a reply stay visible in its text.
    """
    import torch

    rows = list(range(len(sampling)))
    guides = guides or [None] * len(rows)
    chance = [torch.Generator().manual_seed(how.seed % 2**63) for how in sampling]
    written: list[list[int]] = [[] for _ in rows]
    texts: list[str | None] = [None for _ in rows]
    finished, cache = [False for _ in rows], None
    ids, mask = batch["input_ids"].to(model.device), batch["attention_mask"].to(model.device)
    with torch.inference_mode():
        for _ in range(max(how.max_tokens for how in sampling) + 1):
            positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :]
            output = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = output.past_key_values
            logits = output.logits[:, -1].float()
            for place, row in enumerate(rows):
                if (guide := guides[row]) is not None:
                    allowed = guide.allowed()[: logits.shape[-1]].to(logits.device)
                    logits[place].masked_fill_(~allowed, float("-inf"))
            chosen = choose(logits, [sampling[row] for row in rows], [chance[row] for row in rows])
            going = []
            for place, (row, token) in enumerate(zip(rows, chosen.tolist(), strict=True)):
                if token in ends:
                    finished[row] = True
                    continue
                if len(written[row]) == sampling[row].max_tokens:
                    continue
                written[row].append(token)
                guide, cut = guides[row], cuts[row]
                texts[row] = cut(tokenizer.decode(written[row])) if cut else None
                finished[row] = texts[row] is not None or (guide is not None and guide.take(token))
                if not finished[row]:
                    going.append(place)
            if not going:
                break
            if len(going) < len(rows):
                kept = torch.tensor(going, device=mask.device)
                cache.batch_select_indices(kept)
                mask, chosen, rows = mask[kept], chosen[kept], [rows[place] for place in going]
            ids, mask = chosen[:, None], torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
    return [
        Reply(tokenizer.decode(tokens) if text is None else text, len(tokens), done)
        for text, tokens, done in zip(texts, written, finished, strict=True)
    ]


def choose(logits: Any, sampling: Sequence[Sampling], chance: Sequence[Any]) -> Any:
    """Picks one token per row.

    Args:
        logits: Float ``(rows, vocabulary)``.
        sampling: Temperature and nucleus of each row.
        chance: A ``torch.Generator`` on the CPU for each row, drawn from once where the row is sampled.

    Returns:
        int64 ``(rows,)``.
    """
    import torch

    best = logits.argmax(-1)
    if all(how.temperature == 0 for how in sampling):
        return best
    heat = logits.new_tensor([how.temperature or 1.0 for how in sampling])[:, None]
    top_p = logits.new_tensor([how.top_p for how in sampling])[:, None]
    full = (logits / heat).softmax(-1)
    # Sorting the whole vocabulary would take longer than the LLM does; the nucleus is nearly always in the head.
    chances, order = full.topk(min(_HEAD, full.shape[-1]))
    if (chances.sum(-1, keepdim=True) < top_p).any():
        chances, order = full.sort(-1, descending=True)
    before = chances.cumsum(-1) - chances
    nucleus = chances.masked_fill(before >= top_p, 0)
    total = nucleus.cumsum(-1)
    draws = [
        torch.rand((), generator=one) if how.temperature else 0.0 for how, one in zip(sampling, chance, strict=True)
    ]
    drawn = total[:, -1:] * logits.new_tensor(draws)[:, None]
    place = (total <= drawn).sum(-1, keepdim=True).clamp(max=(nucleus > 0).sum(-1, keepdim=True) - 1)
    sampled = order.gather(-1, place)[:, 0]
    return torch.where(logits.new_tensor([how.temperature for how in sampling]) > 0, sampled, best)
