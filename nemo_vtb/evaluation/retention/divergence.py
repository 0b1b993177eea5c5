"""How much of the untouched LLM is left: divergence of its next-token distribution on text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nemo_vtb.data.dataset import VTBDataset
from nemo_vtb.parts.eval_mode import evaluating
from nemo_vtb.parts.pack import PackedLayout

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


def kl_to_base(model: "VoiceTextBlender", dataset: VTBDataset, conversations: Sequence[Any]) -> float:
    """Mean KL(untouched || tuned) in nats per supervised token of text conversations.

    The untouched LLM is the tuned one with LoRA switched off, so no second copy is loaded.
    """
    sums = text_likelihoods(model, dataset, conversations).sum(axis=0)
    return float(sums[3]) / max(1.0, float(sums[0]))


def answer_bytes(conversation: Any) -> int:
    """Bytes of the answers that are learnt: what their likelihood is divided by, whatever the tokenizer."""
    learnt = (turn for turn in conversation.turns if turn.role == "assistant" and getattr(turn, "learnt", True))
    return sum(len(turn.value.encode()) for turn in learnt)


@torch.no_grad()
def text_likelihoods(
    model: "VoiceTextBlender", dataset: VTBDataset, conversations: Sequence[Any], at_once: int = 8, bar: Any = None
) -> np.ndarray:
    """What text conversations cost the tuned and the untouched LLM.

    Args:
        model: Put in evaluation mode and back.
        dataset: Encodes.
        conversations: Text only.
        at_once: Conversations of one batch.
        bar: A progress bar to be moved on by the conversations.

    Returns:
        float64 ``(conversations, 4)``: supervised tokens, their negative log-likelihood in nats under the tuned and
        under the untouched LLM, and the sum of KL(untouched || tuned) over them.
    """
    rows: np.ndarray = np.zeros((len(conversations), 4))
    with evaluating(model), model.arithmetic():
        for start in range(0, len(conversations), at_once):
            batch = dataset[list(conversations[start : start + at_once])]
            tuned, layout = _log_probabilities(model, batch)
            with model.backbone.without_lora():
                base, _ = _log_probabilities(model, batch)
            targets = torch.from_numpy(layout.targets).to(model.device)[:, None]
            nats = [
                -tuned.gather(1, targets)[:, 0],
                -base.gather(1, targets)[:, 0],
                (base.exp() * (base - tuned)).sum(-1),
            ]
            columns = torch.stack([torch.ones_like(nats[0]), *nats], dim=1).double().cpu().numpy()
            np.add.at(rows, start + layout.target_owner, columns)
            if bar is not None:
                bar.update(len(batch["kinds"]))
    return rows


def _log_probabilities(model: "VoiceTextBlender", batch: dict[str, Any]) -> tuple[torch.Tensor, PackedLayout]:
    """Next-token log-probabilities at supervised positions, float32 ``(S, vocabulary)``, and the plan of the batch."""
    frames, counts = model.encode_clips(batch)
    embeds, layout = model.embed_packed(batch["encoded"], frames, counts, None)
    hidden = model.hidden_states(embeds, layout)
    picked = hidden.flatten(0, 1).index_select(0, torch.from_numpy(layout.predict_from).to(model.device))
    return model.backbone.project(picked).float().log_softmax(-1), layout
