"""The LLM on megatron-core behind the calls of ``HFBackbone``."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.backbone import HFBackbone
from nemo_vtb.modules.megatron.groups import tensor_group
from nemo_vtb.modules.megatron.lora import SequenceFirstGate
from nemo_vtb.modules.megatron.state import own_moments, own_state, whole_moments, whole_state
from nemo_vtb.modules.megatron.vocabulary import divergence, embedding_deviation, losses_and_hits
from nemo_vtb.parts.loss import in_chunks

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models import SALM
    from torch.distributed.device_mesh import DeviceMesh


class MegatronBackbone(HFBackbone):
    """A ``MegatronCausalLM``; embeddings, hidden states and logits are whole and equal on every rank of its group.

    Every rank of the group must make the same calls with the same batch.

    Args:
        owner: The model with ``llm`` and ``embed_tokens``, freezing done.
        loss_backend: ``chunked``.
        loss_chunk: See ``nemo_vtb.models.options.StepOptions``.

    Raises:
        VTBError: If more of the LLM is trained than LoRA, or another loss backend is asked for.
    """

    def __init__(self, owner: "SALM", loss_backend: str = "chunked", loss_chunk: int = 1024) -> None:
        if loss_backend != "chunked":
            raise VTBError(
                f"model.loss_backend={loss_backend} wants the whole head on each rank, which "
                "model.llm_backend=megatron cuts: set model.loss_backend=chunked"
            )
        trained = [name for name, parameter in owner.named_parameters() if parameter.requires_grad]
        own = [name for name in trained if name.startswith(("llm.", "embed_tokens.")) and ".lora_" not in name]
        if own:
            raise VTBError(
                f"model.llm_backend=megatron trains LoRA and nothing else of the LLM, and {own[0]} would be trained: "
                r"put ^llm\..+$ and ^embed_tokens\..+$ into model.freeze_params"
            )
        super().__init__(owner, loss_backend, loss_chunk)
        self._gate = SequenceFirstGate()
        self.tensor_parallel = True

    def shard(self, mesh: "DeviceMesh") -> None:
        """Refuses: it is cut already.

        Raises:
            VTBError: Always.
        """
        raise VTBError("model.llm_backend=megatron cannot be sharded by FSDP2 too: set trainer.strategy=vtb_megatron")

    def generate(self, embeds: Tensor, attention_mask: Tensor, config: Any, *args: Any, **options: Any) -> Tensor:
        """See ``HFBackbone.generate``; where tokens are drawn, every rank draws the first one's."""
        if config.do_sample and tensor_group().size() > 1:
            _draw_alike(embeds.device)
        return super().generate(embeds, attention_mask, config, *args, **options)

    def embedding_deviation(self) -> Tensor:
        """See ``HFBackbone.embedding_deviation``."""
        return embedding_deviation(self.table) * self.embed_factor

    def whole_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """See ``HFBackbone.whole_state``."""
        return whole_state(state)

    def own_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """See ``HFBackbone.own_state``."""
        return own_state(state)

    def whole_moments(self, states: Mapping[str, Any]) -> dict[str, Any]:
        """See ``HFBackbone.whole_moments``."""
        return whole_moments(states)

    def own_moments(self, states: Mapping[str, Any]) -> dict[str, Any]:
        """See ``HFBackbone.own_moments``."""
        return own_moments(states)

    def _losses(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor | None]:
        if not len(targets) or tensor_group().size() == 1:
            return super()._losses(hidden, targets)

        def one_chunk(hidden_part: Tensor, target_part: Tensor) -> tuple[Tensor, Tensor]:
            return losses_and_hits(self._part(hidden_part), target_part)

        losses, hits = in_chunks(one_chunk, hidden, targets, chunk=self._loss_chunk, head_trains=False)
        return losses, hits

    def _divergences(self, tuned: Tensor, base: Tensor) -> Tensor:
        if not len(tuned) or tensor_group().size() == 1:
            return super()._divergences(tuned, base)

        def one_chunk(tuned_part: Tensor, base_part: Tensor) -> tuple[Tensor]:
            with torch.no_grad():
                untouched = self._part(base_part)
            return (divergence(self._part(tuned_part), untouched),)

        return in_chunks(one_chunk, tuned, base, chunk=self._loss_chunk, head_trains=False)[0]

    def _part(self, hidden: Tensor) -> Tensor:
        """Float32 logits of this rank's tokens, capped where the LLM does that."""
        logits = self.head.module.part(hidden).float()
        cap = self.head.cap
        return logits if cap is None else torch.tanh(logits / cap) * cap


def _draw_alike(device: torch.device) -> None:
    """Gives every rank of the group the random state of its first."""
    first = torch.distributed.get_global_rank(tensor_group(), 0)
    state = [torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None]
    torch.distributed.broadcast_object_list(state, src=first, group=tensor_group())
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
