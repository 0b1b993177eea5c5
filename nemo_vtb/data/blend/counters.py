"""What a blend has given so far, as numbers for a training logger."""

from collections.abc import Mapping
from typing import Any

from nemo_vtb.data.blend.walk import Blend, BlendState

_UNITS = ("supervised_tokens", "total_tokens", "audio_seconds")


def counters(blend: Blend, state: BlendState, dropped: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """Returns realised and asked shares, repeats and what was left out, over all ranks since the run's beginning.

    Args:
        blend: The blend.
        state: Where its walk is.
        dropped: Conversations that could not be loaded, by kind and reason.

    Returns:
        ``data/share_<unit>/<kind>`` beside ``data/asked/<kind>``; per source ``data/examples``, ``data/epochs`` and
        ``data/repeated``; ``data/left_out`` when the index was made and ``data/dropped`` since, by kind and reason.
    """
    found: dict[str, float] = {}
    amounts: dict[str, dict[str, float]] = {"examples": {kind: sum(drawn) for kind, drawn in state.drawn.items()}}
    for number, unit in enumerate(_UNITS):
        amounts[unit] = {kind: sum(of[number] for of in of_kind) for kind, of_kind in state.amounts.items()}
    for unit, by_kind in amounts.items():
        total = sum(by_kind.values())
        found |= {f"data/share_{unit}/{kind}": amount / total for kind, amount in by_kind.items() if total}
    found |= {f"data/asked/{kind}": share for kind, share in blend.shares_at(state).items()}
    for kind, of_kind in blend.sources.items():
        for number, source in enumerate(of_kind):
            name = source.name if len(of_kind) == 1 else f"{number}_{source.name}"
            drawn = state.drawn[kind][number]
            found[f"data/examples/{kind}/{name}"] = drawn
            found[f"data/epochs/{kind}/{name}"] = drawn / len(source)
            found[f"data/repeated/{kind}/{name}"] = max(0, drawn - len(source))
            for reason, count in _left_out(source).items():
                key = f"data/left_out/{kind}/{_word(reason)}"
                found[key] = found.get(key, 0) + count
    for kind, reasons in dropped.items():
        found |= {f"data/dropped/{kind}/{_word(reason)}": count for reason, count in reasons.items()}
    return found


def _left_out(source: Any) -> Mapping[str, int]:
    bad = getattr(source, "bad", None)
    return bad.reasons if bad is not None else {}


def _word(reason: str) -> str:
    return reason.replace(" ", "_")
