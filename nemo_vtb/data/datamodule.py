"""NeMo's DataModule, which also understands a ``blend`` section."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import CombinedLoader
from nemo.collections.speechlm2.data import DataModule
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader

from nemo_vtb.config import check_keys
from nemo_vtb.data.blend import Blend, DrawnRow, Measure
from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.loader import BlendLoader
from nemo_vtb.data.sources import ConversationSource, read_source
from nemo_vtb.errors import VTBError

_COMMON_KEYS = ("prompt_format", "token_equivalent_duration", "audio_locator_tag", "max_duration", "max_bad_share",
                "batch_tokens", "num_workers", "seed", "sample_rate")  # fmt: skip
_BLEND_KEYS = ("unit", "strategy", "kinds")


class VTBDataModule(DataModule):
    """Serves ``data.train_ds.blend`` and ``data.validation_ds.kinds``; anything else is NeMo's own business.

    Args:
        cfg: The ``data`` section.
        tokenizer: The model's tokenizer.
        dataset: A VTBDataset; its prompt format is taken from ``train_ds`` where it has none.
    """

    def __init__(self, cfg: DictConfig, tokenizer: Any, dataset: VTBDataset) -> None:
        super().__init__(cfg, tokenizer, dataset)
        if getattr(dataset, "prompt_format", "") is None and "train_ds" in cfg:
            dataset.prompt_format = cfg.train_ds.get("prompt_format")

    def train_dataloader(self) -> Any:
        """The blend's loader, or NeMo's where there is no blend."""
        cfg = self.cfg.get("train_ds")
        if cfg is None or "blend" not in cfg:
            return super().train_dataloader()
        return BlendLoader(
            build_blend(cfg, self.dataset),
            self.dataset,
            cfg.get("batch_tokens", 8192),
            self._get_dp_rank(),
            self._get_world_size(),
            cfg.get("num_workers", 0),
        )

    def val_dataloader(self) -> Any:
        """One loader per kind under ``validation_ds.kinds``; an empty list, not None, where nothing is validated."""
        cfg = self.cfg.get("validation_ds")
        if cfg is None:
            return []
        if "kinds" not in cfg:
            return super().val_dataloader()
        loaders = {}
        for kind, section in cfg.kinds.items():
            sources = _read_kind(kind, section, cfg)
            rows = [source.draw(i, 0) for source in sources for i in range(len(source))]
            rows = rows[self._get_dp_rank() :: self._get_world_size()]
            batches = _by_budget(rows, self.dataset, cfg.get("batch_tokens", 8192), cfg.token_equivalent_duration)
            loaders[kind] = DataLoader(batches, batch_size=None, collate_fn=self.dataset.__getitem__)
        return CombinedLoader(loaders, mode="max_size")


def build_blend(cfg: DictConfig, dataset: VTBDataset) -> Blend:
    """Reads every source of a ``train_ds`` section and returns the blend over them.

    Raises:
        VTBError: On unknown keys, kinds without data, or too many bad rows.
    """
    check_keys(cfg, (*_COMMON_KEYS, "blend", "shuffle"), "data.train_ds")
    check_keys(cfg.blend, _BLEND_KEYS, "data.train_ds.blend")
    sources, shares = {}, {}
    for kind, section in cfg.blend.kinds.items():
        check_keys(section, ("share", "input_cfg"), f"data.train_ds.blend.kinds.{kind}")
        sources[kind] = _read_kind(kind, section, cfg)
        shares[kind] = float(section.get("share", 0.0))
    return Blend(
        sources,
        shares,
        _Measurer(sources, dataset, cfg.token_equivalent_duration),
        cfg.blend.get("unit", "supervised_tokens"),
        cfg.blend.get("strategy", "stratified"),
        cfg.get("seed", 0),
    )


def _read_kind(kind: str, section: Mapping[str, Any], cfg: DictConfig) -> list[ConversationSource]:
    if "input_cfg" not in section:
        raise VTBError(f"kinds.{kind} has no input_cfg")
    return [
        read_source(
            OmegaConf.to_container(entry, resolve=True),
            kind,
            cfg.audio_locator_tag,
            cfg.token_equivalent_duration,
            cfg.get("max_duration", 30.0),
            cfg.get("max_bad_share", 0.0),
        )
        for entry in section["input_cfg"]
    ]


class _Measurer:
    """Weighs drawn rows in LLM positions; fixed rows are weighed once."""

    def __init__(
        self, sources: Mapping[str, list[ConversationSource]], dataset: VTBDataset, frame_seconds: float
    ) -> None:
        self._sources, self._dataset, self._frame_seconds = sources, dataset, frame_seconds
        self._known: dict[tuple[str, int, int], Measure] = {}

    def __call__(self, row: DrawnRow) -> Measure:
        # An instruction's wording moves a length by a token or two between epochs, which a budget may ignore.
        key = (row.kind, row.source, row.index)
        if key not in self._known:
            conversation = self._sources[row.kind][row.source].draw(row.index, row.epoch)
            self._known[key] = measure(conversation, self._dataset, self._frame_seconds)
        return self._known[key]


def measure(conversation: Any, dataset: VTBDataset, frame_seconds: float) -> Measure:
    """LLM positions of a conversation, audio frames included, and how many of them are supervised."""
    encoded = dataset.encode(conversation)
    frames = sum(-int(-cut.duration // frame_seconds) - 1 for cut in conversation.list_cuts())
    return Measure(len(encoded.input_ids) + frames, int(encoded.loss_mask.sum()))


def _by_budget(rows: list[Any], dataset: VTBDataset, budget: int, frame_seconds: float) -> list[list[Any]]:
    batches: list[list[Any]] = [[]]
    used = 0
    for row in sorted(rows, key=lambda r: sum(cut.duration for cut in r.list_cuts())):
        size = measure(row, dataset, frame_seconds).total
        if batches[-1] and used + size > budget:
            batches.append([])
            used = 0
        batches[-1].append(row)
        used += size
    return batches if rows else []
