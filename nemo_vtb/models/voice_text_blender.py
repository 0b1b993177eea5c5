"""VoiceTextBlender: a speech encoder, a modality adapter and an LLM with LoRA, trained jointly (arXiv 2410.17485)."""

from collections.abc import Sequence
from typing import Any

import torch
from nemo.collections.common.prompts import PromptFormatter
from nemo.collections.common.tokenizers import AutoTokenizer
from nemo.collections.speechlm2.models.salm import SALM
from nemo.collections.speechlm2.parts.encoder_chunking import encode_audio_with_optional_chunking
from nemo.collections.speechlm2.parts.optim_setup import is_frozen
from nemo.core.classes.common import safe_instantiate
from omegaconf import DictConfig, open_dict
from torch import Tensor

from nemo_vtb import registry
from nemo_vtb.assets import resolve
from nemo_vtb.config import check_model_section
from nemo_vtb.models.checkpoint import check_state_dict, trainable_state
from nemo_vtb.modules.alignment import EmbeddingAlignment
from nemo_vtb.modules.backbone import HFBackbone
from nemo_vtb.modules.build import build_llm, build_perception, install_lora
from nemo_vtb.modules.frame_cache import FrameCache
from nemo_vtb.parts.encode import adapted_frames, dummy_zero
from nemo_vtb.parts.freeze import freeze_parameters
from nemo_vtb.parts.groups import parameter_groups
from nemo_vtb.parts.loss import by_kind, global_mean, supervised_losses
from nemo_vtb.parts.pack import PackedLayout, fill_rows, flatten_frames, plan_packing
from nemo_vtb.parts.turn_mask import EncodedConversation


class VoiceTextBlender(SALM):
    """SALM that trains on text-only, audio-only and mixed batches.

    Differences from SALM (NeMo 3.0.0): conversations are packed instead of padded, logits exist at supervised positions
    only, the loss is averaged over the supervised tokens of all ranks and logged per kind, a batch without audio is
    safe on any rank, freezing precedes data-parallel wrapping, and checkpoints hold what was trained.

    Args:
        cfg: The ``model`` section as a plain dict, with SALM's keys and those in ``nemo_vtb.config``.

    Raises:
        VTBError: On a config, asset or version that cannot work.
    """

    def __init__(self, cfg: dict[str, Any]) -> None:
        # SALM's constructor can only take its encoder from a NeMo checkpoint.
        super(SALM, self).__init__()
        registry.register()
        check_model_section(cfg)
        self.save_hyperparameters()
        self.cfg = DictConfig(cfg)
        with open_dict(self.cfg):
            self.cfg.pretrained_llm = resolve(self.cfg.pretrained_llm)
            if self.cfg.get("pretrained_asr"):
                self.cfg.pretrained_asr = resolve(self.cfg.pretrained_asr)
        self.audio_locator_tag = self.cfg.audio_locator_tag
        self.tokenizer = AutoTokenizer(
            resolve(self.cfg.get("tokenizer_path") or self.cfg.pretrained_llm),
            use_fast=True,
            trust_remote_code=self.cfg.get("trust_remote_code", False),
        )
        self.tokenizer.add_special_tokens({"additional_special_tokens": [self.audio_locator_tag]})
        self.formatter = PromptFormatter.resolve(self.cfg.prompt_format)(self.tokenizer)
        llm = build_llm(self.cfg)
        self.embed_tokens = llm.model.embed_tokens
        # As in SALM: inside the LLM the embeddings would be swept into its sharding.
        del llm.model.embed_tokens
        self.llm = install_lora(llm, self.embed_tokens, self.cfg)
        self.perception = build_perception(self.cfg, llm.config.hidden_size)
        if hasattr(self.perception.modality_adapter, "match_embeddings"):
            # Gemma's embedding layer multiplies what its table holds.
            scale = getattr(self.embed_tokens, "scalar_embed_scale", 1.0)
            self.perception.modality_adapter.match_embeddings(self.embed_tokens.weight.detach() * scale)
        settings = self.cfg.get("alignment")
        self.alignment = EmbeddingAlignment(llm.config.hidden_size, **settings) if settings is not None else None
        keep = [*self.cfg.get("prevent_freeze_params", []), r"^.+\.lora_.+$"]
        # Now rather than in configure_optimizers: DDP decides when it wraps what it reduces.
        self.trainable_names = freeze_parameters(self, self.cfg.get("freeze_params", []), keep)
        self.backbone = HFBackbone(self)
        self.frame_cache = FrameCache(self.perception) if self.cfg.get("encoder_cache") else None
        self._use_fsdp = self._use_tp = False

    @property
    def text_pad_id(self) -> int:
        """An id for padding that is never a target: SALM masks targets by value, ours by length."""
        pad = self.tokenizer.pad
        return 0 if pad is None else pad

    def encode_clips(self, batch: dict[str, Any]) -> tuple[Tensor | None, list[int]]:
        """Audio of a batch to LLM-sized frames.

        Returns:
            ``(F, H)`` frames of all clips one after another, None without audio, and frames per clip.
        """
        audios, audio_lens = batch["audios"], batch["audio_lens"]
        if not audios.numel():
            return None, []
        chunk_seconds = self.cfg.get("encoder_chunk_size_seconds")
        if self.frame_cache is not None and "audio_ids" in batch:
            frames, lengths = self.frame_cache.lookup(self.perception, batch["audio_ids"], audios, audio_lens)
            frames, lengths = adapted_frames(self.perception, frames, lengths)
        elif chunk_seconds:
            clips = encode_audio_with_optional_chunking(
                self.perception, audios, audio_lens, chunk_size_seconds=chunk_seconds, sampling_rate=self.sampling_rate
            )
            return torch.cat(clips), [len(clip) for clip in clips]
        else:
            frames, lengths = self.perception(input_signal=audios, input_signal_length=audio_lens)
        counts = lengths.tolist()
        return flatten_frames(frames, counts), counts

    def embed_packed(
        self,
        encoded: Sequence[EncodedConversation],
        frames: Tensor | None,
        counts: list[int],
        names: Sequence[str] | None,
    ) -> tuple[Tensor, PackedLayout]:
        """Token embeddings and frames in packed rows ``(R, L, H)``, with the plan they follow."""
        layout = plan_packing(encoded, counts, self.audio_locator_tag_id, self.cfg.get("row_tokens", 512), names)
        token_embeds = self.backbone.embed(torch.from_numpy(layout.token_ids).to(self.device))
        return fill_rows(layout, token_embeds, frames), layout

    def compute_losses(
        self, batch: dict[str, Any], frames: Tensor | None, counts: list[int]
    ) -> tuple[Tensor, Tensor, PackedLayout]:
        """Losses ``(S,)`` and hits ``(S,)`` of all supervised positions of a batch, with the plan.

        Args:
            batch: From ``VTBDataset``, or a stock SALM batch.
            frames: What ``encode_clips`` made of its audio.
            counts: Frames per clip.
        """
        encoded = batch["encoded"] if "encoded" in batch else _unpad(batch, self.text_pad_id)
        embeds, layout = self.embed_packed(encoded, frames, counts, _names(batch))
        hidden = self.backbone.hidden_states(embeds, torch.from_numpy(layout.position_ids).to(self.device))
        picked = hidden.flatten(0, 1).index_select(0, torch.from_numpy(layout.predict_from).to(self.device))
        targets = torch.from_numpy(layout.targets).to(self.device)
        losses, hits = supervised_losses(picked, targets, self.backbone.project, self.cfg.get("loss_chunk", 2048))
        return losses, hits, layout

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """One joint step over whatever kinds the batch holds."""
        for module in (self.perception.preprocessor, self.perception.encoder, self.llm):
            if is_frozen(module):
                module.eval()
        frames, counts = self.encode_clips(batch)
        losses, hits, layout = self.compute_losses(batch, frames, counts)
        loss = global_mean(losses)
        if frames is None:
            loss = loss + dummy_zero(self.perception, self.sampling_rate, self.device)
        stats = {
            "learning_rate": self.trainer.optimizers[0].param_groups[0]["lr"] if self._trainer is not None else 0.0,
            "batch_size": float(len(layout.lengths)),
            "sequence_length": float(layout.lengths.sum()),
            "supervised_tokens": float(len(layout.targets)),
            "padding_share": layout.padding_share,
        }
        if self.alignment is not None:
            alignment = self.alignment(frames, counts, batch.get("transcripts", ()), self.embed_tokens.weight)
            loss = loss + alignment
            stats["loss_alignment"] = float(alignment.detach())
        kinds = _kinds(batch, len(layout.lengths))
        owners = torch.from_numpy(layout.target_owner).to(self.device)
        for kind, (total, count) in by_kind(losses.detach(), owners, kinds).items():
            stats[f"loss_{kind}"] = total / count
        for kind, (total, count) in by_kind(hits, owners, kinds).items():
            stats[f"acc_{kind}"] = total / count
        self.log("loss", loss.detach(), on_step=True, prog_bar=True, batch_size=1)
        self.log_dict(stats, on_step=True, batch_size=1)
        return {"loss": loss}

    def on_validation_epoch_start(self) -> None:
        """Forgets the sums of the last validation."""
        self._validation: dict[str, Tensor] = {}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Adds each named set's losses, hits and tokens."""
        for name, part in batch.items():
            total = self._validation.setdefault(name, torch.zeros(3, device=self.device))
            if part is not None:
                losses, hits, _ = self.compute_losses(part, *self.encode_clips(part))
                total += torch.stack([losses.sum(), hits.sum(), torch.tensor(float(len(losses)), device=self.device)])

    def on_validation_epoch_end(self) -> None:
        """Logs ``val_loss_<set>``, ``val_acc_<set>`` and their means, weighted by tokens over all ranks."""
        means = []
        for name, total in self._validation.items():
            loss_sum, hit_sum, tokens = self.all_gather(total).reshape(-1, 3).sum(0)
            if tokens:
                self.log(f"val_loss_{name}", loss_sum / tokens)
                self.log(f"val_acc_{name}", hit_sum / tokens)
                means.append(torch.stack([loss_sum / tokens, hit_sum / tokens]))
        if means:
            loss, accuracy = torch.stack(means).mean(0)
            self.log("val_loss", loss)
            self.log("val_acc", accuracy)

    def configure_optimizers(self) -> dict[str, Any]:
        """The config's optimizer and scheduler over the trainable parameters, ``lr_scale`` applied by name pattern."""
        groups = parameter_groups(self, self.cfg.optimizer.lr, self.cfg.get("lr_scale", {}))
        chosen: dict[str, Any] = {"optimizer": safe_instantiate(self.cfg.optimizer, groups, _convert_="all")}
        if self.cfg.get("lr_scheduler") is not None:
            scheduler = safe_instantiate(self.cfg.lr_scheduler, chosen["optimizer"])
            chosen["lr_scheduler"] = {"scheduler": scheduler, "interval": "step", "frequency": 1}
        return chosen

    def generate(
        self,
        prompts: list[list[dict[str, Any]]] | Tensor,
        audios: Tensor | None = None,
        audio_lens: Tensor | None = None,
        generation_config: Any = None,
        enable_thinking: bool | None = None,
        **generation_kwargs: Any,
    ) -> Tensor:
        """Answers prompts; SALM's interface, but only answer ids come back in every case.

        Args:
            prompts: Conversations of ``{"role", "content", "audio"}`` turns, or left-padded token ids ``(B, T)``.
            audios: ``(clips, samples)`` when the prompts name no files.
            audio_lens: ``(clips,)``.
            generation_config: A ``transformers.GenerationConfig``.
            enable_thinking: Accepted for SALM's sake; the prompt format decides.
            **generation_kwargs: Passed on to Hugging Face ``generate``.

        Returns:
            ``(B, new tokens)`` ids.
        """
        from nemo_vtb.inference.generate import generate_answers

        return generate_answers(self, prompts, audios, audio_lens, generation_config, **generation_kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what was trained and the buffers; the frozen LLM and encoder are named in the hyperparameters."""
        checkpoint["state_dict"] = trainable_state(self, checkpoint["state_dict"])

    def load_state_dict(self, state_dict: dict[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Loads a slim or a full state; missing trainable weights or unknown ones are errors.

        Raises:
            VTBError: If the state does not fit this config, e.g. a LoRA checkpoint without ``model.lora``.
        """
        check_state_dict(self, state_dict)
        return super().load_state_dict(state_dict, strict=False, assign=assign)


def _unpad(batch: dict[str, Any], pad_id: int) -> list[EncodedConversation]:
    """Token lists from a stock SALM batch: padding is the run of pad ids on the left, whatever follows is text."""
    ids, masks = batch["input_ids"].cpu().numpy(), batch["loss_mask"].cpu().numpy()
    starts = [int((row != pad_id).argmax()) for row in ids]
    return [EncodedConversation(row[start:], mask[start:]) for row, mask, start in zip(ids, masks, starts, strict=True)]


def _names(batch: dict[str, Any]) -> list[str] | None:
    return [conversation.id for conversation in batch["conversations"]] if "conversations" in batch else None


def _kinds(batch: dict[str, Any], count: int) -> list[str]:
    return batch.get("kinds") or ["all"] * count
