"""What blend.py reports of the conversations that were drawn."""

from collections import Counter
from statistics import fmean
from typing import Any

from blend_corpus import SHARES, Corpus, Known

from nemo_vtb.parts.pack import plan_packing

UNITS = {"supervised_tokens": "supervised", "total_tokens": "total"}
# The model's own default of ``model.row_tokens``.
ROW_TOKENS = 512
Steps = list[list[list[str]]]  # ids by step and rank


def shares(steps: Steps, corpus: Corpus, unit: str) -> dict[str, float]:
    """Each kind's share of what was drawn, counted in ``unit``."""
    amounts: Counter[str] = Counter()
    for step in steps:
        if unit == "steps":  # a step is text alone, or has audio
            amounts[
                "text" if all(corpus.known[name].kind == "text" for batch in step for name in batch) else "audio"
            ] += 1
            continue
        for batch in step:
            for name in batch:
                known = corpus.known[name]
                amounts[known.kind] += getattr(known, UNITS[unit]) if unit in UNITS else 1
    return {kind: amount / amounts.total() for kind, amount in amounts.items()}


def share_error_points(steps: Steps, corpus: Corpus, unit: str) -> float:
    """Largest distance between a realised and an asked share, in points of a hundred."""
    asked = {"text": SHARES["text"], "audio": 1 - SHARES["text"]} if unit == "steps" else SHARES
    realised = shares(steps, corpus, unit)
    return 100 * max(abs(realised.get(kind, 0.0) - share) for kind, share in asked.items())


def drawn(steps: Steps, corpus: Corpus, packed: bool) -> dict[str, Any]:
    """Everything that follows from the order of the conversations.

    Args:
        steps: Ids by step and rank.
        corpus: What they weigh.
        packed: Whether batches are packed as our model does, or padded to their longest conversation as SALM does.
    """
    work = [[sum(corpus.known[name].total for name in batch) for batch in step] for step in steps]
    ranks = range(len(steps[0]))
    over_ranks = [sum(step[rank] for step in work) for rank in ranks]
    audio = [[any(corpus.known[name].frames for name in batch) for batch in step] for step in steps]
    batches = [[corpus.known[name] for name in batch] for step in steps for batch in step]
    laid_out = [_packed(batch, corpus) if packed else len(batch) * max(k.total for k in batch) for batch in batches]
    repeated, lost = _unfair(steps, corpus)
    return {
        "share_error_points": share_error_points(steps, corpus, "supervised_tokens"),
        "realised_share": shares(steps, corpus, "supervised_tokens"),
        "padding_share": 1 - sum(over_ranks) / sum(laid_out),
        "positions_per_batch": fmean(map(fmean, work)),
        "batches_without_audio": sum(not has for step in audio for has in step),
        "rank_disagreements": sum(len(set(step)) > 1 for step in audio),
        "rank_imbalance": max(over_ranks) / fmean(over_ranks),
        "rank_imbalance_per_step": fmean(max(step) / fmean(step) for step in work),
        "repeated": repeated,
        "lost": lost,
        "conversations": sum(map(len, batches)),
    }


def _packed(batch: list[Known], corpus: Corpus) -> int:
    placeholder = corpus.tokenizer.token_to_id(corpus.dataset.audio_tag)
    frames = [count for known in batch for count in known.frames]
    layout = plan_packing([known.encoded for known in batch], frames, placeholder, ROW_TOKENS)
    return layout.rows * layout.row_length


def _unfair(steps: Steps, corpus: Corpus) -> tuple[int, int]:
    """Draws above and below what going through each kind epoch by epoch allows: n or n + 1 times each."""
    counts = Counter(name for step in steps for batch in step for name in batch)
    repeated = lost = 0
    for kind in SHARES:
        of_kind = [counts[name] for name, known in corpus.known.items() if known.kind == kind]
        epochs, begun = divmod(sum(of_kind), len(of_kind))
        repeated += sum(max(0, count - epochs - bool(begun)) for count in of_kind)
        lost += sum(max(0, epochs - count) for count in of_kind)
    return repeated, lost
