"""An alignment loss for the adapter: CTC against the LLM's own token embeddings.

Each adapted frame is compared with the embeddings of the tokens spoken in the batch and with a learnt blank; CTC
(Graves et al. 2006) asks that the frames spell the clip's transcript. Frames thus land where the LLM's own words are,
and the joint loss starts from an input the LLM can read already. Not part of the paper; ``model.alignment`` switches it
on.
"""

from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss, normalize
from torch.nn.utils.rnn import pad_sequence

from nemo_vtb.options import Range
from nemo_vtb.parts.encode import sub_batches
from nemo_vtb.parts.loss import global_mean

# Most padded frames in one call of the CTC loss.
_FRAMES = 8192


class EmbeddingAlignment(nn.Module):
    """The loss and its one parameter, the blank.

    Args:
        hidden_size: The LLM's hidden size.
        weight: Factor of the loss in the training objective.
        temperature: Scale of the cosine similarities.
    """

    def __init__(
        self,
        hidden_size: int,
        weight: Annotated[float, Range(0)] = 0.5,
        temperature: Annotated[float, Range(0, above=True)] = 12.0,
    ) -> None:
        super().__init__()
        self.weight, self.temperature = weight, temperature
        self.blank = nn.Parameter(torch.randn(hidden_size) * 0.1)

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
            embedded = embed(torch.from_numpy(vocabulary).to(device))
        if frames is None or not known:
            # Both stay in the graph: sharded ranks must meet in the same order in the backward pass too.
            nothing = self.blank[:0] if frames is None else torch.cat([self.blank[:0], frames[:0].flatten()])
            return global_mean(nothing.float()) + self.blank.float().sum() * 0.0
        targets = {i: np.asarray(np.searchsorted(vocabulary, ids)) + 1 for i, ids in spoken.items()}
        words = torch.cat([self.blank[None], embedded.float()])
        with torch.autocast(device.type, enabled=False):
            similarity = normalize(frames.float(), dim=-1) @ normalize(words.float(), dim=-1).T
            scores = (self.temperature * similarity).log_softmax(-1).split(list(counts))
            # Clips of like length together: scores are as wide as the vocabulary, and padding costs as much.
            groups = sub_batches([counts[i] for i in known], _FRAMES)
            per_token = [self._per_token(scores, {known[k]: targets[known[k]] for k in group}) for group in groups]
        return self.weight * global_mean(torch.cat(per_token))

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
