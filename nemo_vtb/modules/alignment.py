"""An alignment loss for the adapter: CTC against the LLM's own token embeddings.

Each adapted frame is compared with the embeddings of the tokens spoken in the batch and with a learnt blank; CTC
(Graves et al. 2006) asks that the frames spell the clip's transcript. Frames thus land where the LLM's own words are,
and the joint loss starts from an input the LLM can read already. Not part of the paper; ``model.alignment`` switches it
on.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss, normalize
from torch.nn.utils.rnn import pad_sequence


class EmbeddingAlignment(nn.Module):
    """The loss and its one parameter, the blank.

    Args:
        hidden_size: The LLM's hidden size.
        weight: Factor of the loss in the training objective.
        temperature: Scale of the cosine similarities.
    """

    def __init__(self, hidden_size: int, weight: float = 0.5, temperature: float = 12.0) -> None:
        super().__init__()
        self.weight, self.temperature = weight, temperature
        self.blank = nn.Parameter(torch.randn(hidden_size) * 0.1)

    def forward(
        self, frames: Tensor | None, counts: Sequence[int], transcripts: Sequence[np.ndarray | None], table: Tensor
    ) -> Tensor:
        """Computes the weighted loss.

        Args:
            frames: ``(F, H)`` adapted frames of all clips, or None.
            counts: Frames per clip.
            transcripts: Token ids spoken in each clip, None where nobody wrote them down.
            table: ``(vocabulary, H)`` token embeddings; no gradient flows into them.

        Returns:
            A float32 scalar: negative log-likelihood per transcript token, averaged over clips; zero without clips,
            with the blank still in the graph.
        """
        spoken = {i: ids for i, ids in enumerate(transcripts) if ids is not None and len(ids)}
        known = list(spoken)
        if frames is None or not known:
            return self.blank.float().sum() * 0.0
        clips = frames.float().split(list(counts))
        vocabulary = np.unique(np.concatenate(list(spoken.values())))
        targets = np.concatenate([np.searchsorted(vocabulary, ids) + 1 for ids in spoken.values()])
        device = frames.device
        words = torch.cat([self.blank[None], table.detach()[torch.from_numpy(vocabulary).to(device)].float()])
        picked = pad_sequence([clips[i] for i in known])
        with torch.autocast(device.type, enabled=False):
            similarity = normalize(picked, dim=-1) @ normalize(words.float(), dim=-1).T
            loss = ctc_loss(
                (self.temperature * similarity).log_softmax(-1),
                torch.from_numpy(targets).to(device),
                torch.tensor([counts[i] for i in known], device=device),
                torch.tensor([len(ids) for ids in spoken.values()], device=device),
                zero_infinity=True,
            )
        return self.weight * loss
