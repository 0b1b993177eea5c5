"""The loaders that blend.py compares: ours, and NeMo's own ways to mix, each set up as well as it can be.

NeMo's weights count conversations or batches. To come near shares of supervised tokens they are worked out here from
the mean lengths of each kind.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from typing import Any
from unittest.mock import patch

from blend_corpus import AUDIO_TAG, FRAME_SECONDS, PROMPT_FORMAT, SHARES, Corpus
from lhotse import Recording
from nemo.collections.common.data.fallback import FallbackDataset
from nemo.collections.common.data.lhotse import dataloader, get_lhotse_dataloader_from_config
from nemo.collections.speechlm2.data.salm_dataset import SALMDataset
from omegaconf import OmegaConf

from nemo_vtb.data.blend.walk import Blend
from nemo_vtb.data.datamodule import build_blend
from nemo_vtb.data.loader import BlendLoader

FUSIONS = ("mux", "zip", "randomized_round_robin")


def our_blend(corpus: Corpus, batch_tokens: int, **blend: Any) -> Blend:
    """Our blend over the corpus; ``blend`` holds ``unit``, ``strategy`` and ``together``."""
    kinds = {
        kind: {"share": SHARES[kind], "input_cfg": [{"manifest_filepath": str(path)}]}
        for kind, path in corpus.paths.items()
    }
    common = {
        "prompt_format": PROMPT_FORMAT,
        "audio_locator_tag": AUDIO_TAG,
        "token_equivalent_duration": FRAME_SECONDS,
    }
    cfg = {**common, "batch_tokens": batch_tokens, "seed": 0, "blend": {**blend, "kinds": kinds}}
    return build_blend(OmegaConf.create(cfg), corpus.dataset)


def our_names(blend: Blend, batch_tokens: int, ranks: int, steps: int) -> list[list[list[str]]]:
    """Ids by step and rank, as drawn: nothing is read but the index."""
    state = blend.start()
    return [
        [[f"{row.kind}:{_line(blend, row)}" for row in rows] for rows in blend.step(state, batch_tokens, ranks)]
        for _ in range(steps)
    ]


def our_batches(corpus: Corpus, batch_tokens: int) -> Iterator[dict[str, Any]]:
    """Batches of one rank, audio loaded."""
    return iter(BlendLoader(our_blend(corpus, batch_tokens), corpus.dataset, batch_tokens))


def stock_names(corpus: Corpus, fusion: str, batch_tokens: int, ranks: int, steps: int) -> list[list[list[str]]]:
    """Ids by step and rank, as drawn; no audio is read."""
    by_rank = []
    with _remembered():
        for rank in range(ranks):
            loader = _stock_loader(corpus, fusion, batch_tokens, _Names(), rank, ranks)
            by_rank.append(list(islice(loader, steps)))
    return [list(step) for step in zip(*by_rank, strict=True)]


def stock_batches(corpus: Corpus, fusion: str, batch_tokens: int) -> Iterator[dict[str, Any]]:
    """Batches of one rank, audio loaded, made as NeMo's data module makes them."""
    dataset = FallbackDataset(SALMDataset(corpus.tokenizer))
    return iter(_stock_loader(corpus, fusion, batch_tokens, dataset, 0, 1))


@contextmanager
def _remembered() -> Iterator[None]:
    """NeMo opens and tokenizes a row each time it is read: time that is measured elsewhere, and changes no choice."""
    encoded: dict[str, Any] = {}
    original = dataloader.apply_prompt_format_fn

    def encode(conversation: Any, prompt: Any) -> Any:
        name = _name(conversation)
        if name not in encoded:
            encoded[name] = original(conversation, prompt)
        return encoded[name]

    opened = patch.object(Recording, "from_file", cache(Recording.from_file))
    with opened, patch.object(dataloader, "apply_prompt_format_fn", encode):
        yield


def _name(conversation: Any) -> str:
    # NeMo's readers number the epochs in the ids.
    return conversation.id.partition("_repeat")[0]


class _Names:
    """Stands for the dataset where only the choice of conversations is looked at."""

    def __getitem__(self, conversations: Any) -> list[str]:
        return [_name(conversation) for conversation in conversations]


def _line(blend: Blend, row: Any) -> str:
    return blend.sources[row.kind][row.source].where(row.row).rpartition(":")[2]


def _stock_loader(corpus: Corpus, fusion: str, batch_tokens: int, dataset: Any, rank: int, ranks: int) -> Any:
    shared = {"seed": 0, "shard_seed": 0, "shuffle": True, "num_workers": 0}
    if fusion == "mux":
        # Per conversation drawn, a kind with short answers must come oftener.
        weights = {kind: share / corpus.mean(kind, "supervised") for kind, share in SHARES.items()}
        entries = [_entry(corpus, kind, weight=weight) for kind, weight in weights.items()]
        cfg = {**shared, **_batching(batch_tokens, len(corpus.known)), "input_cfg": entries}
    else:
        positions = {k: s * corpus.mean(k, "total") / corpus.mean(k, "supervised") for k, s in SHARES.items()}
        whole = sum(positions.values())
        # Zipped, every batch is made of one part per kind; drawn in turn, every batch belongs to one kind.
        budgets = {
            k: max(1, round(batch_tokens * p / whole)) if fusion == "zip" else batch_tokens
            for k, p in positions.items()
        }
        parts = {
            kind: {**_batching(budgets[kind], corpus.rows(kind)), "input_cfg": [_entry(corpus, kind)]}
            for kind in SHARES
        }
        cfg = {**shared, "multi_config": True, "sampler_fusion": fusion, **parts}
        if fusion == "randomized_round_robin":
            cfg["sampler_weights"] = {kind: p / whole for kind, p in positions.items()}
    return get_lhotse_dataloader_from_config(OmegaConf.create(cfg), rank, ranks, dataset, corpus.tokenizer)


def _entry(corpus: Corpus, kind: str, **more: float) -> dict[str, Any]:
    return {"type": "multimodal_conversation", "manifest_filepath": str(corpus.paths[kind]), **more}


def _batching(batch_tokens: int, rows: int) -> dict[str, Any]:
    return {
        "prompt_format": PROMPT_FORMAT,
        "audio_locator_tag": AUDIO_TAG,
        "token_equivalent_duration": FRAME_SECONDS,
        "sample_rate": 16_000,
        "use_multimodal_sampling": True,
        "batch_tokens": batch_tokens,
        "use_bucketing": True,
        "num_buckets": 10,
        "bucket_buffer_size": 2000,
        # As many as there are conversations: they are shuffled as a whole.
        "shuffle_buffer_size": rows,
        "num_cuts_for_bins_estimate": 1000,
        # Its thread only takes turns with the one core that everybody gets here.
        "concurrent_bucketing": False,
        # The sampler that splits one stream among the ranks; the other kind lets them draw the same conversations.
        "force_map_dataset": True,
    }
