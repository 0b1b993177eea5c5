"""The NeMo data type ``vtb_blend``: any Lhotse loader of NeMo, stock SALM's included, can read a blend."""

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch.distributed
from lhotse import CutSet
from nemo.collections.common.data.lhotse.cutset import data_type_parser
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import get_worker_info

from nemo_vtb.data.blend.walk import Blend
from nemo_vtb.data.files.entries import kind_entries
from nemo_vtb.data.sources.source import Reading, read_sources
from nemo_vtb.errors import VTBError
from nemo_vtb.options import Key
from nemo_vtb.parts.ranks import data_rank, world_size

# Of an entry, beside what NeMo's own entries have.
BLEND_KEYS = {
    "blend": Key("a section", "``kinds``, as under data.train_ds.blend; shares count examples."),
    "blend_seed": Key("int", "Of the shuffles.", 0),
    "audio_locator_tag": Key("str", "The token that stands for a clip; here or above."),
    "token_equivalent_duration": Key("float", "Seconds of audio per LLM position; here or above."),
}


@data_type_parser("vtb_blend")
def read_vtb_blend(config: DictConfig) -> tuple[CutSet, bool]:
    """Endless conversations of a ``blend`` section, shares counted in examples: lengths belong to NeMo's sampler here.

    Returns:
        The conversations and True, which NeMo takes for data that splits itself over ranks and workers.

    Raises:
        VTBError: On a missing key, or data that cannot be read.
    """
    for key in ("audio_locator_tag", "token_equivalent_duration"):
        if config.get(key) is None:
            raise VTBError(f"missing config key {key} in an input_cfg entry of type vtb_blend, or above it")
    reading = Reading(config.audio_locator_tag, config.token_equivalent_duration)
    sources, shares = {}, {}
    for kind, section in OmegaConf.to_container(config.blend.kinds, resolve=True).items():
        temperature = section.get("reweight_temperature", 1.0)
        entries = kind_entries(config.blend.kinds, kind, "blend.kinds")
        sources[kind] = read_sources(entries, kind, reading, temperature)
        shares[kind] = section["share"]
    return CutSet(_BlendStream(Blend(sources, shares, unit="examples", seed=config.get("blend_seed", 0)))), True


class _BlendStream:
    """Every so-manieth conversation of a walk: no two workers of any rank get the same one."""

    def __init__(self, blend: Blend) -> None:
        self._blend = blend

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, workers = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        rank, ranks = _rank_and_world()
        rows = islice(self._walk(), rank * workers + number, None, ranks * workers)
        for conversation in map(self._blend.fetch, rows):
            _check_learnt(conversation)
            yield conversation

    def _walk(self) -> Iterator[Any]:
        state = self._blend.start()
        while True:
            yield self._blend.next_row(state)


def _check_learnt(conversation: Any) -> None:
    if any(not getattr(turn, "learnt", True) and turn.value.strip() for turn in conversation.turns):
        raise VTBError(
            f"{conversation.id}: an answer is not to be learnt, and NeMo's own formats learn all of them: train "
            "VoiceTextBlender, or take such rows out"
        )


def _rank_and_world() -> tuple[int, int]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return data_rank(), world_size()
    # Lhotse tells its workers by the environment.
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
