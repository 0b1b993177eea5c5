"""NeMo's DataModule, which also understands a ``blend`` section."""

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.utilities import CombinedLoader
from nemo.collections.speechlm2.data import DataModule
from nemo.utils import logging
from omegaconf import DictConfig, OmegaConf, open_dict
from torch.utils.data import DataLoader, DistributedSampler

from nemo_vtb import registry
from nemo_vtb.data.augmentation import Augmentation, read_augment
from nemo_vtb.data.batching import HeldOutBatches
from nemo_vtb.data.blend.epoch import batches_per_epoch, counts_epochs
from nemo_vtb.data.blend.walk import Blend
from nemo_vtb.data.conversations.kinds import ALIGN
from nemo_vtb.data.conversations.prompt_pool import stable_hash
from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.data.files.entries import kind_entries
from nemo_vtb.data.loader import BlendLoader
from nemo_vtb.data.options import DEFAULT_BATCH_TOKENS, check_held_out_section, check_train_section
from nemo_vtb.data.sources.source import ConversationSource, Reading, read_sources
from nemo_vtb.errors import VTBError
from nemo_vtb.parts.ranks import logs_now


class VTBDataModule(DataModule):
    """Serves ``data.train_ds.blend`` and ``data.validation_ds.kinds``; anything else is NeMo's own business.

    Args:
        cfg: The ``data`` section.
        tokenizer: The model's tokenizer.
        dataset: A VTBDataset; prompt format and placeholder are taken from ``train_ds`` where it has none.
    """

    def __init__(self, cfg: DictConfig, tokenizer: Any, dataset: VTBDataset) -> None:
        # NeMo's own constructor trips over sections that are null.
        with open_dict(cfg):
            for name in [name for name in cfg if cfg.get(name) is None]:
                del cfg[name]
        # Before NeMo's own constructor fills in what it wants to be there.
        if "kinds" in (cfg.get("validation_ds") or {}):
            check_held_out_section(cfg.validation_ds)
        super().__init__(cfg, tokenizer, dataset)
        self._loader: BlendLoader | None = None
        if "train_ds" in cfg and isinstance(dataset, VTBDataset):
            dataset.prompt_format = dataset.prompt_format or cfg.train_ds.get("prompt_format")
            dataset.audio_tag = dataset.audio_tag or cfg.train_ds.get("audio_locator_tag")

    def train_dataloader(self) -> Any:
        """The blend's loader, or NeMo's where there is no blend."""
        cfg = self.cfg.get("train_ds")
        if cfg is None or "blend" not in cfg:
            return super().train_dataloader()
        _complete_last_batch(self.trainer)
        blend = build_blend(cfg, self.dataset, self.trainer.accumulate_grad_batches if self.trainer is not None else 1)
        budget, ranks = cfg.get("batch_tokens", DEFAULT_BATCH_TOKENS), self._get_world_size()
        epoch = self._epoch(blend, budget, ranks)
        self._loader = BlendLoader(
            blend,
            self.dataset,
            budget,
            self._get_dp_rank(),
            ranks,
            cfg.get("num_workers", 0),
            cfg.get("max_bad_share", 0.0),
            acknowledged=self.trainer is not None,
            epoch=epoch,
            repeat=_overfit(self.trainer, epoch),
        )
        self._loader.epoch_is_over = _epoch_is_over(self.trainer, epoch)
        return self._loader

    def _epoch(self, blend: Blend, budget: int, ranks: int) -> int | None:
        """Batches of an epoch, where the trainer asks for it."""
        if self.trainer is None or not counts_epochs(self.trainer, self.cfg.get("validation_ds") is not None):
            return None
        epoch = batches_per_epoch(blend, budget, ranks)
        logging.info(
            f"nemo_vtb: an epoch is {epoch} batches a rank, the smallest number in which every conversation is drawn"
        )
        interval, length = self.trainer.val_check_interval, int(epoch * self.trainer.limit_train_batches)
        if isinstance(interval, int) and interval > length and self.trainer.check_val_every_n_epoch is not None:
            raise VTBError(
                f"trainer.val_check_interval={interval} never comes in an epoch of {length} batches: set "
                "trainer.check_val_every_n_epoch=null to count across epochs"
            )
        return epoch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Tells the loader which batch is trained on, since Lightning fetches ahead of it; logs what it has given."""
        if self._loader is not None and self.trainer.training:
            self._loader.acknowledge(batch)
            if self.trainer.loggers and logs_now(self.trainer, self._loader.step):
                counters = self._loader.counters()
                for logger in self.trainer.loggers:
                    logger.log_metrics(counters, step=self.trainer.global_step)
        return batch

    def val_dataloader(self) -> Any:
        """One loader per kind under ``validation_ds.kinds``; an empty list, not None, where nothing is validated."""
        cfg = self.cfg.get("validation_ds")
        if cfg is None:
            return []
        if "kinds" not in cfg:
            return super().val_dataloader()
        reading = reading_of(cfg, "data.validation_ds", self.dataset)
        ranks = self._get_world_size()
        loaders = {}
        for kind in cfg.kinds:
            sources = _read_kind(kind, cfg.kinds, reading, "data.validation_ds.kinds")
            batches = HeldOutBatches(sources, self.dataset, cfg.get("batch_tokens", DEFAULT_BATCH_TOKENS), ranks)
            # Given a distributed sampler, Lightning does not put its own around what is split already.
            sampler: DistributedSampler = DistributedSampler(batches, ranks, self._get_dp_rank(), shuffle=False)
            loaders[kind] = DataLoader(batches, batch_size=None, sampler=sampler)
        return CombinedLoader(loaders, mode="max_size")


def _complete_last_batch(trainer: Any) -> None:
    """Counts the batch after which a checkpoint was saved.

    Lightning 2.4 saves before it does so itself. Resumed, it would be one batch short: with gradient accumulation every
    step would then hold other conversations than it would have held.
    """
    if trainer is not None and trainer.fit_loop.restarting:
        progress = trainer.fit_loop.epoch_loop.batch_progress
        for counted in (progress.current, progress.total):
            counted.completed = counted.processed


def _epoch_is_over(trainer: Any, epoch: int | None) -> bool:
    """Whether a run goes on from behind the last batch of an epoch, of which Lightning has not taken note."""
    if trainer is None or not trainer.fit_loop.restarting:
        return False
    limit = trainer.limit_train_batches
    length = limit if isinstance(limit, int) else epoch and int(epoch * limit)
    return bool(length) and trainer.fit_loop.epoch_loop.batch_progress.current.completed >= length


def _overfit(trainer: Any, epoch: int | None) -> int | None:
    """Batches that ``trainer.overfit_batches`` repeats."""
    if trainer is None or not trainer.overfit_batches:
        return None
    wanted = trainer.overfit_batches
    return wanted if isinstance(wanted, int) else max(1, int((epoch or 1) * wanted))


def build_blend(cfg: DictConfig, dataset: VTBDataset, batches_per_step: int = 1) -> Blend:
    """Opens every source of a ``train_ds`` section and returns the blend over them.

    Args:
        cfg: The section.
        dataset: Measures conversations.
        batches_per_step: Batches per optimizer step: gradient accumulation.

    Raises:
        VTBError: On unknown or missing keys, kinds without data, or too many bad rows.
    """
    check_train_section(cfg)
    if ALIGN in cfg.blend.kinds and cfg.blend.get("unit", "supervised_tokens") == "supervised_tokens":
        raise VTBError(
            f"blend.kinds.{ALIGN} has no supervised tokens to be a share of; set data.train_ds.blend.unit=total_tokens"
        )
    reading = reading_of(cfg, "data.train_ds", dataset, cfg.get("batch_tokens", DEFAULT_BATCH_TOKENS))
    sources, shares = {}, {}
    for kind, section in cfg.blend.kinds.items():
        where = f"data.train_ds.blend.kinds.{kind}"
        if section.get("share") is None:
            raise VTBError(f"missing config key {where}.share")
        share = section.share
        shares[kind] = OmegaConf.to_container(share) if isinstance(share, DictConfig) else share
        sources[kind] = _read_kind(kind, cfg.blend.kinds, reading, "data.train_ds.blend.kinds")
        _augment(sources[kind], kind, cfg, reading)
    return Blend(
        sources,
        shares,
        cfg.blend.get("unit", "supervised_tokens"),
        cfg.blend.get("strategy", "stratified"),
        cfg.get("seed", 0),
        cfg.blend.get("together", ()),
        batches_per_step,
    )


def reading_of(cfg: DictConfig, where: str, dataset: VTBDataset, max_total: int | None = None) -> Reading:
    """Returns how the sources of a ``train_ds`` or ``validation_ds`` section are read.

    Raises:
        VTBError: On a missing key.
    """
    for key in ("audio_locator_tag", "token_equivalent_duration"):
        if OmegaConf.is_missing(cfg, key) or cfg.get(key) is None:
            raise VTBError(f"missing config key {where}.{key}")
    if isinstance(dataset, VTBDataset) and dataset.prompt_format is None:
        raise VTBError(f"missing config key {where}.prompt_format")
    return Reading(
        cfg.audio_locator_tag,
        cfg.token_equivalent_duration,
        cfg.get("max_duration", 30.0),
        cfg.get("max_bad_share", 0.0),
        max_total,
        dataset,
        cfg.get("min_duration", 0.1),
    )


def _augment(sources: list[ConversationSource], kind: str, cfg: DictConfig, reading: Reading) -> None:
    """Has clips drawn as ``train_ds.augment`` says, or the kind's own ``augment``, which takes its place."""
    own = "augment" in cfg.blend.kinds[kind]
    where = f"data.train_ds.blend.kinds.{kind}.augment" if own else "data.train_ds.augment"
    settings = read_augment(cfg.blend.kinds[kind].augment if own else cfg.get("augment"), where)
    if settings is not None:
        for number, source in enumerate(sources):
            key = stable_hash("augment", cfg.get("seed", 0), kind, number)
            source.augmentation = Augmentation(
                settings, key, reading.frame_seconds, reading.max_seconds, reading.max_total
            )


def _read_kind(kind: str, kinds: Mapping[str, Any], reading: Reading, where: str) -> list[ConversationSource]:
    temperature = kinds[kind].get("reweight_temperature", 1.0)
    return read_sources(
        kind_entries(kinds, kind, where),
        kind,
        reading,
        temperature if isinstance(temperature, (int, float)) else list(temperature),
    )


# Whoever has this class may name what it brings: data types, strategies, callbacks.
registry.register()
