"""An alignment loss for the adapter: CTC against the LLM's own token embeddings.

Each adapted frame is compared with the embeddings of the tokens spoken in the batch and with a learnt blank; CTC
(Graves et al. 2006) asks that the frames spell the clip's transcript. Frames thus land where the LLM's own words are,
and the joint loss starts from an input the LLM can read already. Not part of the paper; ``model.alignment`` switches it
on.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss, normalize
from torch.nn.utils.rnn import pad_sequence

from nemo_vtb.options import Range
from nemo_vtb.parts.encode import sub_batches
from nemo_vtb.parts.loss import global_mean
from nemo_vtb.parts.ranks import take_first_s

# Most padded frames in one call of the CTC loss.
_FRAMES = 8192
# In a memory that is not full.
_NOTHING = -1
# The memory's name in a checkpoint.
REMEMBERED = "remembered"


class EmbeddingAlignment(nn.Module):
    """The loss and its one parameter, the blank.

    Args:
        hidden_size: The LLM's hidden size.
        weight: Factor of the loss in the training objective.
        temperature: Scale of the cosine similarities.
        memory: Tokens of earlier transcripts, the latest first, that frames have to be told apart from as well. Those
            of a batch alone are few: hardly two of them sound alike.
    """

    def __init__(
        self,
        hidden_size: int,
        weight: Annotated[float, Range(0)] = 0.5,
        temperature: Annotated[float, Range(0, above=True)] = 12.0,
        memory: Annotated[int, Range(0, 10**6)] = 0,
    ) -> None:
        super().__init__()
        self.remembered: Tensor | None
        self.weight, self.temperature = weight, temperature
        self.blank = nn.Parameter(torch.randn(hidden_size) * 0.1)
        self.register_buffer(REMEMBERED, torch.full((memory,), _NOTHING) if memory else None)
        self.register_load_state_dict_pre_hook(_fit_memory)

    def forward(
        self,
        frames: Tensor | None,
        counts: Sequence[int],
        transcripts: Sequence[np.ndarray | None],
        embed: Callable[[Tensor], Tensor],
    ) -> Tensor:
        """Computes the weighted loss.

        Args:
            frames: ``(F, H)`` adapted frames of all clips, or None.
            counts: Frames per clip.
            transcripts: Token ids spoken in each clip, None where nobody wrote them down.
            embed: Token ids ``(n,)`` to the LLM's embeddings ``(n, H)``; no gradient flows into them. Called once
                whatever the batch holds, since the table may be sharded over ranks.

        Returns:
            A float32 scalar: negative log-likelihood per transcript token, averaged over the clips of all ranks;
            zero without clips, with the blank still in the graph.
        """
        spoken = {i: ids for i, ids in enumerate(transcripts) if ids is not None and len(ids)}
        known = list(spoken)
        vocabulary = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *spoken.values()]))
        device = self.blank.device
        with torch.no_grad():
            embedded = embed(self._compared(torch.from_numpy(vocabulary).to(device)))
        if frames is None or not known:
            # Both stay in the graph: sharded ranks must meet in the same order in the backward pass too.
            nothing = self.blank[:0] if frames is None else torch.cat([self.blank[:0], frames[:0].flatten()])
            return global_mean(nothing.float()) + self.blank.float().sum() * 0.0
        targets = {i: np.asarray(np.searchsorted(vocabulary, ids)) + 1 for i, ids in spoken.items()}
        spoken_here, others = embedded.float().tensor_split([len(vocabulary)])
        with torch.autocast(device.type, enabled=False):
            directions = self.temperature * normalize(frames.float(), dim=-1)
            logits = directions @ normalize(torch.cat([self.blank[None].float(), spoken_here]), dim=-1).T
            if len(others):
                # No transcript here has one of them: as one class they cost the CTC loss a column.
                other = (directions @ normalize(others, dim=-1).T).logsumexp(-1, keepdim=True)
                logits = torch.cat([logits, other], dim=-1)
            scores = logits.log_softmax(-1).split(list(counts))
            # Clips of like length together: scores are as wide as the vocabulary, and padding costs as much.
            groups = sub_batches([counts[i] for i in known], _FRAMES)
            per_token = [self._per_token(scores, {known[k]: targets[known[k]] for k in group}) for group in groups]
        return self.weight * global_mean(torch.cat(per_token))

    def _compared(self, vocabulary: Tensor) -> Tensor:
        """The tokens of a batch, then those of the memory that are not among them; in training they are remembered."""
        if self.remembered is None:
            return vocabulary
        known = self.remembered[self.remembered != _NOTHING]
        compared = torch.cat([vocabulary, known[~torch.isin(known, vocabulary)]])
        if self.training:
            kept = compared[: len(self.remembered)]
            self.remembered[: len(kept)] = kept
            # One memory for all ranks, so that a checkpoint holds it whoever saves.
            take_first_s(self.remembered)
        return compared

    @staticmethod
    def _per_token(scores: Sequence[Tensor], targets: dict[int, np.ndarray]) -> Tensor:
        """Negative log-likelihood per token of some clips, ``(clips,)``; 0 where a clip is too short for its tokens."""
        device = scores[0].device
        tokens = torch.tensor([len(ids) for ids in targets.values()], device=device)
        losses = ctc_loss(
            pad_sequence([scores[i] for i in targets]),
            torch.from_numpy(np.concatenate(list(targets.values()))).to(device),
            torch.tensor([len(scores[i]) for i in targets], device=device),
            tokens,
            reduction="none",
            zero_infinity=True,
        )
        return losses / tokens


def _fit_memory(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """A run goes on from a checkpoint that has no memory, or one of another length, with what fits."""
    found = state.pop(prefix + REMEMBERED, None)
    if isinstance(module.remembered, Tensor):
        fitted = torch.full_like(module.remembered, _NOTHING)
        if found is not None:
            kept = found[: len(fitted)]
            fitted[: len(kept)] = kept
        state[prefix + REMEMBERED] = fitted
