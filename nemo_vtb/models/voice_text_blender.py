"""VoiceTextBlender: a speech encoder, a modality adapter and an LLM with LoRA, trained jointly (arXiv 2410.17485)."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from lightning.pytorch import Callback
from nemo.collections.speechlm2.models.salm import SALM
from omegaconf import DictConfig, open_dict
from torch import Tensor

from nemo_vtb import registry
from nemo_vtb.assets.resolve import resolve_section
from nemo_vtb.data.conversations.kinds import ALIGN
from nemo_vtb.data.prompts.formats import AUTO, formatter_of, tokenizer_of
from nemo_vtb.errors import VTBError
from nemo_vtb.host_errors import blamed_on
from nemo_vtb.models.answers.generate import generate_answers
from nemo_vtb.models.checkpoints.contents import (
    check_checkpoint,
    check_state_dict,
    complete_checkpoint,
    fingerprint_frozen,
    take_own_moments,
)
from nemo_vtb.models.checkpoints.file import AtomicCheckpointIO, use_atomic_checkpoints
from nemo_vtb.models.checkpoints.init_from import init_from
from nemo_vtb.models.checkpoints.slim import steps_before
from nemo_vtb.models.options import check_model_section, step_options
from nemo_vtb.models.prepare import prepare_for_trainer
from nemo_vtb.models.proof import try_out, try_out_on_device
from nemo_vtb.models.step.accumulation import TokenWeighted
from nemo_vtb.models.step.batch import encoded_of, kinds_of, names_of
from nemo_vtb.models.step.divergences import DIVERGENCES
from nemo_vtb.models.step.guard import ForwardPass, StepGuard
from nemo_vtb.models.step.reach import check_format_ids, check_reach
from nemo_vtb.modules.alignment import EmbeddingAlignment
from nemo_vtb.modules.build import build_backbone, build_llm, build_perception, install_lora, lora_names
from nemo_vtb.modules.clip_encoder import ClipEncoder
from nemo_vtb.modules.frame_cache import FrameCache
from nemo_vtb.modules.llm.parts import embedding_size, take_table
from nemo_vtb.modules.proof import Proof, weight_samples
from nemo_vtb.optim.build import check_optimizer_sections, configure
from nemo_vtb.options import check_arguments
from nemo_vtb.parts.loss import by_kind, check_backend, global_mean
from nemo_vtb.parts.machine.precision import half_arithmetic
from nemo_vtb.parts.pack import PackedLayout, fill_rows, plan_packing
from nemo_vtb.parts.prompts.turn_mask import EncodedConversation
from nemo_vtb.parts.ranks import all_ranks_list, all_ranks_sum, check_joined
from nemo_vtb.parts.text_retention import speech_gate
from nemo_vtb.parts.trainable import freeze_parameters, rest_frozen


class VoiceTextBlender(SALM):
    """SALM that trains on text-only, audio-only and mixed batches.

    Differences from SALM (NeMo 3.0.0): conversations are packed instead of padded, logits exist at supervised positions
    only, the loss is averaged over the supervised tokens of all ranks and logged per kind, a batch without audio is
    safe on any rank, freezing precedes data-parallel wrapping, and checkpoints hold what was trained.

    Args:
        cfg: The ``model`` section as a plain dict, with SALM's keys and those in ``nemo_vtb.models.options``.

    Raises:
        VTBError: On a config, asset or version that cannot work.
    """

    def __init__(self, cfg: dict[str, Any]) -> None:
        # SALM's constructor can only take its encoder from a NeMo checkpoint.
        super(SALM, self).__init__()
        check_model_section(cfg)
        check_optimizer_sections(cfg)
        # Not kept: of where it began, a checkpoint of this run tells the steps behind it alone.
        begin = cfg.get("init_from")
        cfg = {key: value for key, value in cfg.items() if key != "init_from"}
        self.options = step_options(cfg)
        check_backend(self.options.loss_backend)
        self.save_hyperparameters()
        self.cfg = DictConfig(cfg)
        resolve_section(self.cfg)
        with open_dict(self.cfg):
            self.cfg.prompt_format = self.cfg.get("prompt_format") or AUTO
        self.audio_locator_tag = self.cfg.audio_locator_tag
        self.tokenizer = tokenizer_of(self.cfg)
        self.formatter = formatter_of(self.cfg.prompt_format, self.tokenizer)
        # The first LLM that a process reads draws numbers, the second none, and LoRA is to be the same.
        with torch.random.fork_rng(devices=[]):
            llm = build_llm(self.cfg)
        # As in SALM: inside the LLM the embeddings would be swept into its sharding.
        self.embed_tokens = take_table(llm)
        own_weights = weight_samples(llm)
        self.llm = install_lora(llm, self.embed_tokens, self.cfg)
        hidden_size = embedding_size(self.embed_tokens)
        self.perception = build_perception(self.cfg, hidden_size)
        settings = self.cfg.get("alignment")
        if settings is not None:
            check_arguments(EmbeddingAlignment, settings, "model.alignment")
        with blamed_on("model.alignment"):
            self.alignment = EmbeddingAlignment(hidden_size, **settings) if settings is not None else None
        keep = self.cfg.get("prevent_freeze_params", [])
        # Now rather than in configure_optimizers: DDP decides when it wraps what it reduces.
        with blamed_on("model.freeze_params, model.prevent_freeze_params", "each is a list of regular expressions"):
            self.trainable_names = freeze_parameters(self, self.cfg.get("freeze_params", []), keep, lora_names(self))
        # Random weights stand in no file: what is frozen of them must be saved.
        self.frozen_from_file = bool(self.cfg.get("pretrained_weights", True))
        self.frozen_fingerprints = fingerprint_frozen(self) if self.frozen_from_file else {}
        self.strict_loading = False
        self.backbone = build_backbone(self, self.options.loss_backend, self.options.loss_chunk)
        self.gated = self.cfg.get("text_lora", "always") == "audio_gated"
        if self.gated:
            self.backbone.install_gate()
        check_format_ids(self)
        self.proof: Proof | None = None
        try_out(self, own_weights)
        if hasattr(self.perception.modality_adapter, "match_embeddings"):
            self.perception.modality_adapter.match_embeddings(self.backbone.embedding_deviation())
        kept = self.options.encoder_cache
        self.frame_cache = FrameCache(self.perception, kept if isinstance(kept, str) else None) if kept else None
        self.clip_encoder = ClipEncoder(
            self.perception,
            self.frame_cache,
            self.cfg.get("encoder_chunk_size_seconds"),
            self.options.encoder_batch_seconds,
        )
        self._accumulation, self._guard = TokenWeighted(), StepGuard(self.options.skip_non_finite)
        self._half: torch.dtype | None = None
        self._prepared = self._use_fsdp = self._use_tp = self.told_of_unknown_words = False
        self.steps_before = 0
        if begin:
            init_from(self, begin)

    def configure_model(self) -> None:
        """Casts, wraps and shards as the trainer and the config ask; SALM's own sharding is not used."""
        if self._prepared:
            return
        self._half, self._use_fsdp = prepare_for_trainer(self)
        self._prepared = True

    def to(self, *args: Any, **kwargs: Any) -> "VoiceTextBlender":
        """Moves the model; under half precision the trainer's cast of everything is left out."""
        if self._half is None:
            return super().to(*args, **kwargs)
        device = torch._C._nn._parse_to(*args, **kwargs)[0]
        return self if device is None else super().to(device)

    def arithmetic(self) -> AbstractContextManager[None]:
        """The half precision of the model's own arithmetic, for a block outside the trainer; nothing in float32."""
        return half_arithmetic(self.device.type, self._half)

    @property
    def text_pad_id(self) -> int:
        """An id for padding that is never a target: SALM masks targets by value, ours by length."""
        pad = self.tokenizer.pad
        return 0 if pad is None else pad

    def encode_clips(self, batch: dict[str, Any]) -> tuple[Tensor | None, list[int]]:
        """Audio of a batch to LLM-sized frames.

        Returns:
            See ``nemo_vtb.modules.clip_encoder``.
        """
        return self.clip_encoder(batch)

    def embed_packed(
        self,
        encoded: Sequence[EncodedConversation],
        frames: Tensor | None,
        counts: list[int],
        names: Sequence[str] | None,
    ) -> tuple[Tensor, PackedLayout]:
        """Token embeddings and frames in packed rows ``(R, L, H)``, with the plan they follow.

        Conversations without a target, whose clips the alignment loss alone hears, cost the LLM nothing.
        """
        try_out_on_device(self)
        row_tokens = 0 if self.backbone.one_row else self.options.row_tokens
        apart = self.backbone.packing == "apart"
        layout = plan_packing(encoded, counts, self.audio_locator_tag_id, row_tokens, names, True, apart)
        check_reach(self, layout, names)
        token_embeds = self.backbone.embed(torch.from_numpy(layout.token_ids).to(self.device))
        return fill_rows(layout, token_embeds, frames), layout

    def hidden_states(self, embeds: Tensor, layout: PackedLayout) -> Tensor:
        """Final hidden states ``(R, L, H)`` of packed rows.

        Gated, LoRA keeps out of conversations without audio; not in training, where they teach it what to keep for the
        written turns of the others.
        """
        gated = self.gated and not self.training
        gate = torch.from_numpy(speech_gate(layout)).to(self.device) if gated else None
        position_ids = torch.from_numpy(layout.position_ids).to(self.device)
        ids = None
        if self.backbone.per_layer.wanted:
            ids = torch.from_numpy(layout.ids(self.backbone.per_layer.pad)).to(self.device)
        return self.backbone.hidden_states(embeds, position_ids, gate, layout.lengths[layout.order], ids)

    def compute_losses(
        self, batch: dict[str, Any], frames: Tensor | None, counts: list[int]
    ) -> tuple[Tensor, Tensor | None, PackedLayout, Tensor]:
        """Losses ``(S,)`` and hits ``(S,)`` of all supervised positions of a batch, the plan, all hidden states.

        Fused loss backends know no hits: None.

        Args:
            batch: From ``VTBDataset``, or a stock SALM batch.
            frames: What ``encode_clips`` made of its audio.
            counts: Frames per clip.
        """
        encoded = encoded_of(batch, self.text_pad_id)
        embeds, layout = self.embed_packed(encoded, frames, counts, names_of(batch))
        hidden = self.hidden_states(embeds, layout)
        picked = hidden.flatten(0, 1).index_select(0, torch.from_numpy(layout.predict_from).to(self.device))
        targets = torch.from_numpy(layout.targets).to(self.device)
        losses, hits = self.backbone.losses(picked, targets)
        return losses, hits, layout, hidden

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        """One joint step over whatever kinds the batch holds."""
        for module in (self.perception.preprocessor, self.perception.encoder, self.llm):
            rest_frozen(module)
        self._guard.begin(self.perception)
        with self.arithmetic():
            loss, tokens, stats = self._joint_loss(batch)
        self.log("loss", loss.detach(), on_step=True, prog_bar=True, batch_size=1)
        self.log_dict(stats, on_step=True, batch_size=1)
        accumulated = self.trainer.accumulate_grad_batches if self._trainer is not None else 1
        return {"loss": self._accumulation.weigh(loss, tokens, accumulated), "logged": stats}

    def _joint_loss(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor, dict[str, Any]]:
        """The loss, the supervised tokens of all ranks, and what is logged."""
        frames, counts = self.encode_clips(batch)
        losses, hits, layout, hidden = self.compute_losses(batch, frames, counts)
        tokens = all_ranks_sum(len(layout.targets), self.device)
        loss = global_mean(losses, tokens)
        router_loss = self.backbone.router_loss
        balance = router_loss.value(torch.from_numpy(layout.used).to(self.device)) if router_loss else None
        stats: dict[str, Any] = {
            "learning_rate": self.trainer.optimizers[0].param_groups[0]["lr"] if self._trainer is not None else 0.0,
            "batch_size": float(len(layout.lengths)),
            "sequence_length": float(layout.lengths.sum()),
            "supervised_tokens": float(len(layout.targets)),
            "padding_share": layout.padding_share,
            "conversations_per_row": layout.conversations_per_row,
        }
        if balance is not None:
            loss = loss + balance
            stats["loss_router"] = balance.detach()
        if self._guard.allowed:
            stats["skipped_steps"] = float(self._guard.skipped)
        kinds = kinds_of(batch, len(layout.lengths))
        if self.alignment is None and ALIGN in kinds:
            raise VTBError(f"conversations of kind '{ALIGN}' teach nothing without the section model.alignment")
        if self.alignment is not None:
            transcripts = batch.get("transcripts", ())
            alignment = self.alignment(frames, counts, transcripts, self.backbone.embed)
            loss = loss + alignment
            if any(ids is not None and len(ids) for ids in transcripts):
                stats["loss_alignment"] = alignment.detach()
        for name, divergence in DIVERGENCES.items():
            if weight := self.cfg.get(name):
                found = divergence(self, batch, hidden, layout)
                loss = loss + weight * found.mean
                if found.positions:
                    stats[name] = found.mean.detach()
        owners = torch.from_numpy(layout.target_owner)
        for name, values in (("loss", losses.detach()), ("acc", hits)):
            if values is not None:
                for kind, (total, count) in by_kind(values, owners, kinds).items():
                    stats[f"{name}_{kind}"] = total / count
        names = names_of(batch) or [f"number {index}" for index in range(len(layout.lengths))]
        self._guard.saw(
            ForwardPass(loss.detach(), losses.detach(), layout.target_owner, batch["audios"], layout.clip_owner, names)
        )
        return loss, tokens, stats

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Weighs the tokens of all micro-batches alike, then looks for losses and gradients that are not finite.

        Raises:
            VTBError: Past ``model.skip_non_finite`` bad steps, on every rank, naming the samples.
        """
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        self._accumulation.finish(trained)
        self._guard.check(trained, getattr(self.trainer.precision_plugin, "scaler", None) is not None)

    def on_validation_epoch_start(self) -> None:
        """Forgets the sums of the last validation."""
        self._validation: dict[str, Tensor] = {}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Adds each named set's losses, hits and tokens."""
        for name, part in batch.items():
            total = self._validation.setdefault(name, torch.zeros(3, dtype=torch.float32, device=self.device))
            if part is not None:
                with self.arithmetic():
                    frames, counts = self.encode_clips(part)
                    losses, hits, _, _ = self.compute_losses(part, frames, counts)
                right = losses.new_zeros(()) if hits is None else hits.sum()
                total += torch.stack([losses.sum(), right, losses.new_tensor(len(losses))])

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
        return configure(self)

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
            enable_thinking: Whether to think; None keeps to ``model.thinking``. A prompt format of NeMo's cannot.
            **generation_kwargs: Passed on to Hugging Face ``generate``.

        Returns:
            ``(B, new tokens)`` ids.
        """
        with self.arithmetic():
            return generate_answers(
                self, prompts, audios, audio_lens, generation_config, enable_thinking, **generation_kwargs
            )

    def on_fit_start(self) -> None:
        """Tries the LLM out where it stands now, if it could not be tried out when it was built."""
        try_out_on_device(self)

    def on_train_end(self) -> None:
        """Notes that the run is over; one that leaves to be continued does not come here."""
        if isinstance(writer := self.trainer.strategy.checkpoint_io, AtomicCheckpointIO):
            writer.run_is_over()

    def setup(self, stage: str) -> None:
        """Has the run's strategy write checkpoints that are one whole file.

        Raises:
            VTBError: If ranks on machines of different kinds chose another precision each, or are no ranks of one run.
        """
        check_joined(self.trainer)
        if len(chosen := set(all_ranks_list([str(self.trainer.precision)]))) > 1:
            raise VTBError(f"the ranks chose {', '.join(sorted(chosen))} for trainer.precision=auto: name one of them")
        use_atomic_checkpoints(self.trainer.strategy)

    def configure_callbacks(self) -> list[Callback]:
        """What a run on a cluster needs, what a logger is to be told, the retention gate; not what the trainer has."""
        return registry.run_callbacks(self)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what was trained, with what resuming needs; frozen weights from a file are named, not copied."""
        complete_checkpoint(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint that does not fit.

        Raises:
            VTBError: Says what differs.
        """
        check_checkpoint(self, checkpoint)
        self.steps_before = steps_before(checkpoint)
        take_own_moments(self, checkpoint)

    def load_state_dict(self, state_dict: dict[str, Tensor], strict: bool = True, assign: bool = False) -> Any:
        """Loads a slim or a full state; missing trainable weights or unknown ones are errors.

        Raises:
            VTBError: If the state does not fit this config, e.g. a LoRA checkpoint without ``model.lora``.
        """
        state_dict = self.backbone.own_state(state_dict)
        check_state_dict(self, state_dict)
        return super().load_state_dict(state_dict, strict=False, assign=assign)


# Whoever has this class may name what it brings: strategies, callbacks, data types, prompt formats.
registry.register()
