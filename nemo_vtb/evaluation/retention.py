"""How much of the untouched LLM is left: divergence of its next-token distribution on text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from nemo_vtb.data.dataset import VTBDataset

if TYPE_CHECKING:
    from nemo_vtb.models.voice_text_blender import VoiceTextBlender


@torch.no_grad()
def kl_to_base(model: "VoiceTextBlender", dataset: VTBDataset, conversations: Sequence[Any], at_once: int = 8) -> float:
    """Mean KL(untouched || tuned) in nats per supervised token of text conversations.

    The untouched LLM is the tuned one with LoRA switched off, so no second copy is loaded.
    """
    training = model.training
    model.eval()
    total = count = 0.0
    for start in range(0, len(conversations), at_once):
        batch = dataset[list(conversations[start : start + at_once])]
        tuned = _log_probabilities(model, batch)
        with model.backbone.without_lora():
            base = _log_probabilities(model, batch)
        total += float((base.exp() * (base - tuned)).sum())
        count += len(base)
    model.train(training)
    return total / max(1.0, count)


def _log_probabilities(model: "VoiceTextBlender", batch: dict[str, Any]) -> torch.Tensor:
    """Next-token log-probabilities at supervised positions, float32 ``(S, vocabulary)``."""
    frames, counts = model.encode_clips(batch)
    embeds, layout = model.embed_packed(batch["encoded"], frames, counts, None)
    hidden = model.hidden_states(embeds, layout)
    picked = hidden.flatten(0, 1).index_select(0, torch.from_numpy(layout.predict_from).to(model.device))
    return model.backbone.project(picked).float().log_softmax(-1)
