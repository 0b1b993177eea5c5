"""The LLM behind the few calls the model needs, so that packing, loss and metrics do not know whose it is."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.gather import Gathered
from nemo_vtb.modules.llm.asking import embeddings_for_ids, one_by_one
from nemo_vtb.modules.llm.head import LogitHead
from nemo_vtb.modules.llm.parts import argument, body_of, layers_of_body, refer_to_table, text_config
from nemo_vtb.modules.llm.per_layer import PerLayerIds
from nemo_vtb.modules.llm.router_loss import RouterLoss
from nemo_vtb.modules.llm.waiting import values_of
from nemo_vtb.modules.lora.install import adapted_head
from nemo_vtb.modules.lora.untouched import UntouchedBiases, adapters_off, not_linear
from nemo_vtb.modules.lora_gate import LoraGate, scale_lora
from nemo_vtb.parts.loss import fused_losses, supervised_losses
from nemo_vtb.parts.text_retention import divergences

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models import SALM
    from torch.distributed.device_mesh import DeviceMesh


class HFBackbone:
    """A Hugging Face causal LM as SALM holds it: embeddings outside, perhaps wrapped by PEFT.

    Under sharding every rank must make the same number of calls of each method, whatever its batch holds.

    Args:
        owner: The model with ``llm`` and ``embed_tokens``.
        loss_backend: See ``nemo_vtb.models.options.StepOptions``.
        loss_chunk: Likewise.

    Attributes:
        packing: How conversations are laid out; see ``nemo_vtb.modules.proof.Proof``.
        embed_factor: What ids are multiplied by on their way from the table to the layers, outside of both.
        head: From hidden states to logits.
        per_layer: Feeds LLMs with a second table.
        router_loss: Of a mixture of experts that asks for one; None for others.
        caches: Whether ``next_hidden_states`` may be given a cache.
        pads: Whether prompts may be padded to be answered together; a state may run through padding.
        tensor_parallel: Whether the LLM is cut over ranks that share a batch.
        untouched: Why LoRA switched off would not be the untouched LLM; None where it is.
    """

    def __init__(self, owner: "SALM", loss_backend: str = "chunked", loss_chunk: int = 1024) -> None:
        self._owner = owner
        self._gate = LoraGate()
        self._lora_scale = 1.0
        self._off = ExitStack()
        self._loss_backend, self._loss_chunk = loss_backend, loss_chunk
        self._biases = UntouchedBiases(owner.llm, owner.frozen_from_file) if hasattr(owner.llm, "peft_config") else None
        self.packing = "rows"
        self.embed_factor = 1.0
        self.pads = self.caches = True
        self.tensor_parallel = False
        self.untouched: str | None = None
        self.head, self.per_layer = LogitHead(self.causal_lm), PerLayerIds(self.causal_lm)
        self.router_loss = RouterLoss.of(self.causal_lm)
        self._cache_argument = argument(self.body, "cache", "past_key_values")
        head, table = self.head.module, owner.embed_tokens
        if getattr(head, "weight", None) is table.weight:
            # One tensor cannot be in two units of FSDP2.
            self._entry = self._exit = Gathered(table, head)
        else:
            self._entry, self._exit = Gathered(table), Gathered(head)

    def install_gate(self) -> None:
        """Lets ``hidden_states`` and ``generate`` switch LoRA per position.

        Raises:
            VTBError: If there is no LoRA, or it is of a kind whose output is not zero for a zero input.
        """
        self._gate.install(self._owner.llm)

    @property
    def causal_lm(self) -> Any:
        """The Hugging Face model itself, without PEFT's wrapper."""
        llm = self._owner.llm
        return llm.base_model.model if hasattr(llm, "peft_config") else llm

    @property
    def body(self) -> Any:
        """The LLM without its head."""
        return body_of(self.causal_lm)

    @property
    def table(self) -> Any:
        """The embedding table."""
        return self._owner.embed_tokens

    @property
    def device(self) -> torch.device:
        """Where the LLM is."""
        return self.table.weight.device

    @property
    def attention(self) -> str:
        """The attention in use, as Transformers calls it."""
        return text_config(self.causal_lm)._attn_implementation

    @property
    def one_row(self) -> bool:
        """Whether all conversations are wanted in a single row."""
        return self.packing == "segments" or (self.packing == "rows" and self.attention.startswith("flash"))

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids ``(N,)`` to embeddings ``(N, H)``."""
        embeds = self._entry(self._owner.embed_tokens, ids)
        return embeds if self.embed_factor == 1.0 else embeds * self.embed_factor

    def hidden_states(
        self,
        embeds: Tensor,
        position_ids: Tensor,
        gate: Tensor | None = None,
        lengths: np.ndarray | None = None,
        ids: Tensor | None = None,
    ) -> Tensor:
        """Runs the layers over packed rows.

        Args:
            embeds: ``(R, L, H)``.
            position_ids: ``(R, L)``, restarting with each conversation; without an attention mask Hugging Face keeps
                conversations apart by them.
            gate: ``(R, L, 1)``, 0 where LoRA is off; None leaves it on everywhere. Needs ``install_gate``.
            lengths: Of the conversations in the order of a single row, so that variable-length attention need not ask
                the device for them.
            ids: ``(R, L)`` token ids, where ``per_layer.wanted``.

        Returns:
            Final hidden states ``(R, L, H)``.
        """
        # Left in place afterwards: activation checkpointing runs the layers once more in the backward pass.
        self._gate.value, self.per_layer.ids = gate, ids
        more: dict[str, Any] = {}
        if self.one_row and lengths is not None:
            ends = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])).to(embeds.device, torch.int32)
            more = {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends}
            more |= dict.fromkeys(("max_length_q", "max_length_k"), int(lengths.max()))
            if self.packing == "segments":
                numbers: np.ndarray = np.repeat(np.arange(len(lengths)), lengths)
                more["seq_idx"] = torch.from_numpy(numbers).to(embeds.device, torch.int32)[None]
        if self.router_loss is not None:
            more["output_router_logits"] = True
        out = self.body(inputs_embeds=embeds, position_ids=position_ids, use_cache=False, **more)
        if self.router_loss is not None:
            self.router_loss.keep(out)
        return out.last_hidden_state

    def next_hidden_states(
        self,
        embeds: Tensor,
        attention_mask: Tensor,
        cache: Any,
        ids: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> Tensor:
        """One step of decoding, as every rank of a sharded model can take it.

        Returns:
            Final hidden states of the last position ``(B, H)``; see ``cached_hidden_states``.
        """
        return self.cached_hidden_states(embeds, attention_mask, cache, ids, gate)[:, -1]

    def cached_hidden_states(
        self,
        embeds: Tensor,
        attention_mask: Tensor,
        cache: Any,
        ids: Tensor | None = None,
        gate: Tensor | None = None,
    ) -> Tensor:
        """Runs the layers over what follows a cache.

        Args:
            embeds: ``(B, T, H)``: a left-padded prompt, later what is said next, padded on the right.
            attention_mask: ``(B, all positions so far)``.
            cache: A ``transformers.Cache``, which grows; None where ``embeds`` are all that has been said.
            ids: ``(B, T)``, where ``per_layer.wanted``.
            gate: ``(B, 1, 1)``, 0 for the rows that LoRA stays out of; None leaves it as it is. Needs ``install_gate``.

        Returns:
            Final hidden states ``(B, T, H)``.
        """
        self._gate.value, self.per_layer.ids = gate, ids
        position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)[:, -embeds.shape[1] :]
        kept = {} if cache is None else {self._cache_argument or "past_key_values": cache}
        out = self.body(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=cache is not None,
            **kept,
        )
        return out.last_hidden_state

    def project(self, hidden: Tensor) -> Tensor:
        """Hidden states ``(S, H)`` to logits ``(S, vocabulary)``, scaled and capped where the LLM does that."""
        return self._exit(self.head, hidden)

    def losses(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        """Cross-entropy of each target.

        Args:
            hidden: ``(S, H)`` hidden states that predict them.
            targets: ``(S,)`` token ids.

        Returns:
            Float32 losses ``(S,)`` and whether the most likely token was right ``(S,)``; None from fused backends.
        """
        return self._exit(self._losses, hidden, targets)

    def divergences(self, tuned: Tensor, base: Tensor) -> Tensor:
        """KL(base || tuned) of the next-token distributions ``(P,)`` from hidden states ``(P, H)`` of both."""
        return self._exit(self._divergences, tuned, base)

    @property
    def ends(self) -> list[Gathered]:
        """What gathers table and head: one unit where they share their weights."""
        return [self._entry] if self._entry is self._exit else [self._entry, self._exit]

    def whole(self, function: Callable[[], Any]) -> Any:
        """Returns ``function()``, for which table and head are there even where they are sharded."""
        for end in self.ends:
            function = partial(end.__call__, function)
        return function()

    def shard(self, mesh: "DeviceMesh") -> None:
        """Shards every layer, the final norm, and both ends over a data-parallel mesh with FSDP2."""
        from torch.distributed.fsdp import fully_shard

        body = self.body
        if self.head.by_llm:
            raise VTBError(f"the head of {type(self.causal_lm).__name__} cannot be sharded: set trainer.strategy=ddp")
        for layer in layers_of_body(body):
            fully_shard(layer, mesh=mesh)
        # The layers are called through this module; sharding a module above it would leave its hooks uncalled.
        fully_shard(body, mesh=mesh)
        for end in self.ends:
            fully_shard(end, mesh=mesh, reshard_after_forward=True)

    def generate(
        self,
        embeds: Tensor,
        attention_mask: Tensor,
        config: Any,
        gate: Tensor | None = None,
        ids: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """Answers left-padded prompts with Hugging Face ``generate``.

        Args:
            embeds: ``(B, T, H)``.
            attention_mask: ``(B, T)``.
            config: A ``transformers.GenerationConfig``.
            gate: ``(B, 1, 1)``, 0 for the prompts that LoRA stays out of; None leaves it on. Needs ``install_gate``.
            ids: ``(B, T)``, where ``per_layer.wanted``.
            **options: Passed on.

        Returns:
            New token ids ``(B * returned sequences, new tokens)``.
        """
        if not self.pads and not attention_mask.all():
            return one_by_one(
                partial(self.generate, config=config, **options), embeds, attention_mask, config, gate, ids
            )
        copies = max(config.num_beams or 1, config.num_return_sequences or 1)
        self._gate.value = gate if gate is None else gate.repeat_interleave(copies, 0)
        self.per_layer.ids = ids
        refer_to_table(self.causal_lm, self.table)
        # Hugging Face hands the head a strided slice of last positions; PyTorch would copy the head for every prompt.
        contiguous = self.head.module.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
        try:
            if self.router_loss is not None:
                # Transformers would look for balance in every step of decoding, and stumble over its mask.
                options["output_router_logits"] = False
            with embeddings_for_ids(self.causal_lm, self.body, embeds) as asked:
                answers = self._owner.llm.generate(
                    **asked, attention_mask=attention_mask, generation_config=config, **options
                )
            return answers[:, asked["input_ids"].shape[1] :] if "input_ids" in asked else answers
        finally:
            contiguous.remove()

    def embedding_deviation(self) -> Tensor:
        """Standard deviation of all that the layers may be given in place of ids: a float32 scalar."""
        # Gemma's embedding layer multiplies what its table holds.
        scale = getattr(self.table, "scalar_embed_scale", 1.0) * self.embed_factor
        return (values_of(self.table.weight) * scale).float().std()

    def whole_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """Tensors by parameter name as a checkpoint has them, whole; every rank takes part."""
        return dict(state)

    def own_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """What of a checkpoint's tensors by parameter name belongs to this rank."""
        return dict(state)

    def whole_moments(self, states: Mapping[str, Any]) -> dict[str, Any]:
        """``whole_state`` of an optimizer's states by parameter name."""
        return dict(states)

    def own_moments(self, states: Mapping[str, Any]) -> dict[str, Any]:
        """``own_state`` of an optimizer's states by parameter name."""
        return dict(states)

    def _losses(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        if self._loss_backend == "chunked" or not len(targets):
            return supervised_losses(hidden, targets, self.head, self._loss_chunk, self.head.trains)
        weight, cap = self.head.for_kernel()
        return fused_losses(self._loss_backend, hidden, weight, targets, cap), None

    def _divergences(self, tuned: Tensor, base: Tensor) -> Tensor:
        return divergences(tuned, base, self.head, self._loss_chunk, self.head.trains, self._untouched_logits)

    def _untouched_logits(self, hidden: Tensor) -> Tensor:
        head = adapted_head(self.causal_lm)
        if head is None:
            return self.head(hidden)
        with torch.no_grad(), adapters_off(head):
            return self.head(hidden)

    @property
    def lora_scale(self) -> float:
        """How much of LoRA acts: 1 as trained, 0 the untouched LLM, bit for bit; merging and exporting keep to it."""
        return self._lora_scale

    @lora_scale.setter
    def lora_scale(self, scale: float) -> None:
        if not isinstance(scale, int | float) or not 0 <= scale < float("inf"):
            raise VTBError(f"lora_scale is {scale!r}; it is 0 for the untouched LLM, 1 as trained, or any number above")
        if scale != 1 and not hasattr(self._owner.llm, "peft_config"):
            raise VTBError(f"lora_scale is {scale:g}, but the model has no LoRA to scale")
        if scale not in (0, 1) and (whole := not_linear(self._owner.llm)):
            raise VTBError(f"lora_scale is {scale:g}; with model.lora.{whole} it can be 0 or 1 and nothing between")
        self._off.close()
        if scale == 0:
            self.require_untouched(f"lora_scale is {scale:g}")
            self._off.enter_context(self.without_lora())
        scale_lora(self._owner.llm, scale)
        self._lora_scale = float(scale)

    @contextmanager
    def scaled_lora(self, scale: float) -> Iterator[None]:
        """Lets LoRA act at ``scale`` for the time of the block; see ``lora_scale``.

        Raises:
            VTBError: If there is no LoRA, or the scale is no number of at least 0.
        """
        before = self.lora_scale
        self.lora_scale = scale
        try:
            yield
        finally:
            self.lora_scale = before

    @contextmanager
    def without_lora(self) -> Iterator[None]:
        """The untouched LLM for the time of the block.

        Raises:
            VTBError: If LoRA switched off is another LLM, or if it is not to be had any more (``model.lora.bias`` on
                sharded or exported weights).
        """
        self.require_untouched("the untouched LLM is asked")
        llm = self._owner.llm
        if self._biases is None:
            yield
            return
        with adapters_off(llm), self._biases.put_back():
            yield

    def require_untouched(self, why: str) -> None:
        """Refuses to take LoRA switched off for the untouched LLM where it is not.

        Raises:
            VTBError: Begins with ``why``.
        """
        if self.untouched is not None:
            raise VTBError(f"{why}, but LoRA switched off is not the LLM that was loaded: {self.untouched}")
