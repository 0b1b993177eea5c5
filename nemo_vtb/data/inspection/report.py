"""``vtb data report``: what a blend gives the model over some steps, before anything is trained."""

import math
from collections import Counter
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from omegaconf import DictConfig

from nemo_vtb.config import resolved, section_of
from nemo_vtb.data.audio.audio_check import signal
from nemo_vtb.data.blend.walk import Blend
from nemo_vtb.data.datamodule import build_blend
from nemo_vtb.data.files.rows import REMEDIES, BadRow
from nemo_vtb.data.inspection.preview import dataset_of
from nemo_vtb.data.inspection.simulated_draws import SimulatedDraws, amounts, realised, simulate, sources_of
from nemo_vtb.data.options import DEFAULT_BATCH_TOKENS
from nemo_vtb.options import Count, typed
from nemo_vtb.reports.environment import environment
from nemo_vtb.reports.write import Render, write_both

_BINS = 24
_READ_PER_SOURCE = 300
_SAMPLES_PER_KIND = 2
_SAMPLE_RATE = 16_000
UNKNOWN = "unknown"


def data_report(cfg: DictConfig, folder: Path, steps: int, ranks: int, command: str, render: Render) -> str:
    """Walks a blend without training, and writes ``report.json`` and ``report.html``.

    Lengths, hours and shares are those of every conversation drawn, from the index. Languages, and clips to listen to,
    come from at most some hundred conversations of each source, which are read.

    Args:
        cfg: A training config with ``data.train_ds.blend``.
        folder: Where to write.
        steps: Batches per rank to walk.
        ranks: Data-parallel ranks.
        command: How this was called, for the report.
        render: Draws the page.

    Returns:
        A summary to print.

    Raises:
        VTBError: If the config or the data cannot be trained on.
    """
    section_of(resolved(cfg), "data.train_ds.blend")
    section, trainer = cfg.data.train_ds, cfg.get("trainer") or {}
    budget = section.get("batch_tokens", DEFAULT_BATCH_TOKENS)
    per_step = typed("trainer.accumulate_grad_batches", trainer.get("accumulate_grad_batches", 1), Count)
    blend = build_blend(section, dataset_of(cfg), per_step)
    draws = simulate(blend, budget, steps, ranks, per_step)
    shares = realised(blend, draws)
    error = 100 * max(abs(shares[blend.unit][kind] - share) for kind, share in draws.asked.items())
    languages, samples = _read(blend, draws)
    report = {
        "share_unit": blend.unit,
        "strategy": blend.strategy,
        "steps": steps,
        "ranks": ranks,
        "batch_tokens": budget,
        "asked_share": draws.asked,
        "realised_share": shares[blend.unit],
        "share_error_points": error,
        "shares": shares,
        "batches": draws.batches(),
        "sources": _sources(blend, draws),
        "languages": languages,
        "lengths": _lengths(blend, draws),
        "drops": _drops(blend),
        "environment": environment(command, blend.seed),
    }
    write_both(report, folder, lambda text: render(report, samples, text))
    lines = [
        f"{kind:8s} asked {share:.4f}  realised {shares[blend.unit][kind]:.4f}" for kind, share in draws.asked.items()
    ]
    return "\n".join([*lines, f"{folder / 'report.html'}"])


def _sources(blend: Blend, draws: SimulatedDraws) -> list[dict[str, Any]]:
    found = []
    for kind, of_kind in sources_of(blend).items():
        for number, source in enumerate(of_kind):
            held = amounts(source, np.arange(len(source)))
            drawn = len(draws.rows[kind, number])
            found.append(
                {
                    "kind": kind,
                    "name": source.name,
                    "conversations": len(source),
                    "hours": held["audio_seconds"] / 3600,
                    "supervised_tokens": held["supervised_tokens"],
                    "total_tokens": held["total_tokens"],
                    "weight": source.weight,
                    "drawn": drawn,
                    "epochs": drawn / len(source),
                    "dropped": sum(source.bad.reasons.values()),
                }
            )
    return found


def _drops(blend: Blend) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind,
            "source": source.name,
            "reason": reason,
            "count": count,
            "first": source.bad.first.get(reason, ""),
            "remedy": REMEDIES.get(reason, ""),
        }
        for kind, of_kind in sources_of(blend).items()
        for source in of_kind
        for reason, count in source.bad.reasons.items()
    ]


def _lengths(blend: Blend, draws: SimulatedDraws) -> dict[str, dict[str, Any]]:
    """Histograms of what was drawn: LLM positions, learnt ones, and seconds of audio, in bins of equal ratio."""
    found: dict[str, dict[str, list[np.ndarray]]] = {"positions": {}, "supervised": {}, "audio_seconds": {}}
    for (kind, number), drawn in draws.rows.items():
        source, rows = sources_of(blend)[kind][number], np.array(drawn, dtype=np.int64)
        sizes = source.sizes(rows, 0)
        for column, name in enumerate(found):
            values = sizes[:, column]
            if (above := values[values > 0]).size:
                found[name].setdefault(kind, []).append(above)
    return {
        name: _histogram({kind: np.concatenate(parts) for kind, parts in kinds.items()})
        for name, kinds in found.items()
    }


def _histogram(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    if not values:
        return {"edges": [], "counts": {}}
    low, high = min(v.min() for v in values.values()), max(v.max() for v in values.values())
    edges = np.geomspace(low, max(high, low * 1.01), _BINS + 1)
    # Rounding must not leave out the shortest and the longest.
    edges[0], edges[-1] = math.nextafter(low, 0), math.nextafter(max(high, edges[-1]), math.inf)
    counts = {kind: np.histogram(v, edges)[0].tolist() for kind, v in values.items()}
    return {"edges": edges.tolist(), "counts": counts}


def _read(blend: Blend, draws: SimulatedDraws) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Languages of some conversations of each source, and a few to look at and listen to."""
    languages: dict[str, Any] = {}
    samples: list[dict[str, Any]] = []
    opened = [(kind, number, source) for kind, of in sources_of(blend).items() for number, source in enumerate(of)]
    for kind, number, source in opened:
        conversations, seconds = Counter[str](), Counter[str]()
        shown = 0
        distinct = list(dict.fromkeys(draws.rows[kind, number]))
        for row in distinct[:: max(1, len(distinct) // _READ_PER_SOURCE)]:
            try:
                conversation = source.draw(row, 0)
                language = _language(conversation)
                conversations[language] += 1
                seconds[language] += sum(cut.duration for cut in conversation.list_cuts())
                if shown < _SAMPLES_PER_KIND:
                    samples.append(_sample(conversation, kind, source.name))
                    shown += 1
            except BadRow:  # gone since the index was made: training counts it, and there is nothing to show
                continue
        for language, count in conversations.items():
            of_kind = languages.setdefault(kind, {}).setdefault(language, {"conversations": 0, "audio_seconds": 0.0})
            of_kind["conversations"] += count
            of_kind["audio_seconds"] += seconds[language]
    return languages, samples


def _language(conversation: Any) -> str:
    custom = conversation.custom
    names = [custom[key] for key in ("lang", "target_lang") if isinstance(custom.get(key), str)]
    return " → ".join(dict.fromkeys(names)) or UNKNOWN


def _sample(conversation: Any, kind: str, source: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "source": source,
        "id": conversation.id,
        "turns": [(turn.role, "♪" if hasattr(turn, "cut") else turn.value) for turn in conversation.turns],
        "clips": [_flac(cut) for cut in conversation.list_cuts()],
    }


def _flac(cut: Any) -> bytes:
    file = BytesIO()
    soundfile.write(file, signal(cut, _SAMPLE_RATE, cut.id).numpy(), _SAMPLE_RATE, format="FLAC")
    return file.getvalue()
