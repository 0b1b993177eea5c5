"""The NeMo data type ``vtb_blend``: any Lhotse loader of NeMo, stock SALM's included, can read a blend."""

from collections.abc import Iterator
from typing import Any

from lhotse import CutSet
from nemo.collections.common.data.lhotse.cutset import data_type_parser
from omegaconf import DictConfig, OmegaConf

from nemo_vtb.data.blend import Blend, DrawnRow, Measure
from nemo_vtb.data.sources import read_source


@data_type_parser("vtb_blend")
def read_vtb_blend(config: DictConfig) -> tuple[CutSet, bool]:
    """Endless conversations of a ``blend`` section, shares counted in examples: lengths belong to NeMo's sampler here.

    Returns:
        The conversations and True: NeMo then splits them over ranks and workers as it does tarred data.
    """
    kinds = config.blend.kinds
    sources = {
        kind: [
            read_source(
                OmegaConf.to_container(entry, resolve=True),
                kind,
                config.audio_locator_tag,
                config.get("token_equivalent_duration", 0.08),
            )
            for entry in section.input_cfg
        ]
        for kind, section in kinds.items()
    }
    shares = {kind: float(section.share) for kind, section in kinds.items()}
    blend = Blend(sources, shares, lambda row: Measure(1, 1), unit="examples", seed=config.get("blend_seed", 0))
    return CutSet(_BlendStream(blend)), True


class _BlendStream:
    def __init__(self, blend: Blend) -> None:
        self._blend = blend

    def __iter__(self) -> Iterator[Any]:
        state = self._blend.start()
        while True:
            rows: list[DrawnRow] = self._blend.step(state, budget=1)[0]
            yield from map(self._blend.fetch, rows)
