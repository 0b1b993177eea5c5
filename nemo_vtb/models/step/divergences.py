"""Holding the tuned LLM to the untouched one in training: ``model.text_kl`` and ``model.spoken_kl``.

LoRA switched off is the teacher, so no second copy of the LLM is loaded. Text turns are held to what the untouched LLM
says of them. A spoken turn is distilled from its own text: the untouched LLM reads the words of each clip, the tuned
one hears them, and their distributions are compared where the answer's tokens are predicted, which match one to one.
The idea: cross-modal distillation, arXiv 2509.14930 and 2510.13632.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from nemo_vtb.data.written_twin import answers_words, unknown_clip
from nemo_vtb.errors import VTBError
from nemo_vtb.models.step.batch import encoded_of
from nemo_vtb.parts.loss import global_mean
from nemo_vtb.parts.pack import STUB, PackedLayout
from nemo_vtb.parts.prompts.turn_mask import EncodedConversation
from nemo_vtb.parts.text_retention import text_positions

if TYPE_CHECKING:
    from nemo.collections.speechlm2.models.salm import SALM


class Divergence(NamedTuple):
    """A float32 scalar that has a gradient even of nothing, and the positions of this rank that were compared."""

    mean: Tensor
    positions: int


def text_divergence(model: "SALM", batch: dict[str, Any], hidden: Tensor, layout: PackedLayout) -> Divergence:
    """Mean KL of the untouched LLM to this one over all positions of text conversations, on all ranks.

    Args:
        model: The tuned one.
        batch: As in ``compute_losses``.
        hidden: ``(R, L, H)`` with LoRA.
        layout: Its plan.
    """
    everything = encoded_of(batch, model.text_pad_id)
    encoded = [one for one, audio in zip(everything, layout.has_audio, strict=True) if not audio]
    return _divergence(model, hidden, text_positions(layout), encoded, text_positions)


def spoken_divergence(model: "SALM", batch: dict[str, Any], hidden: Tensor, layout: PackedLayout) -> Divergence:
    """Mean KL of the untouched LLM that reads the words to this one that hears them, over answers, on all ranks.

    Conversations whose answer is a transcript or a translation are left out, and those with a clip whose words the data
    does not tell; the first of these is named.

    Args:
        model: The tuned one.
        batch: From ``VTBDataset``.
        hidden: ``(R, L, H)`` with LoRA.
        layout: Its plan.

    Raises:
        VTBError: If the batch does not say what is spoken, or an answer has other tokens behind the words than behind
            the clips.
    """
    if "written" not in batch:
        raise VTBError("model.spoken_kl needs to know what is spoken: load the data with nemo_vtb's data module")
    _warn_of_unknown(model, batch)
    learnt = set(layout.target_owner.tolist())
    chosen = {index: twin for index, twin in enumerate(batch["written"]) if twin is not None and index in learnt}
    for index, twin in chosen.items():
        if not np.array_equal(twin.input_ids[twin.loss_mask], layout.targets[layout.target_owner == index]):
            name = list(batch["conversations"])[index].id
            raise VTBError(
                f"{name}: its answer has other tokens behind the words than behind the clip, so that model.spoken_kl "
                "cannot compare them: set model.prompt_format to one of NeMo's, or model.spoken_kl=0"
            )
    heard = layout.predict_from[np.isin(layout.target_owner, list(chosen))]
    return _divergence(model, hidden, heard, list(chosen.values()), lambda own: own.predict_from)


def _divergence(
    model: "SALM",
    hidden: Tensor,
    positions: np.ndarray,
    encoded: Sequence[EncodedConversation],
    places: Callable[[PackedLayout], np.ndarray],
) -> Divergence:
    """Mean KL at flat positions of ``hidden`` to the untouched LLM at the places of text conversations of its own."""
    tuned = hidden.flatten(0, 1).index_select(0, torch.from_numpy(positions).to(model.device))
    base = tuned[:0].detach()
    if encoded or model._use_fsdp:
        with torch.no_grad(), model.backbone.without_lora():
            embeds, own = model.embed_packed(encoded or [STUB], None, [], None)
            states = model.hidden_states(embeds, own).flatten(0, 1)
        base = states.index_select(0, torch.from_numpy(places(own)).to(model.device))[: len(tuned)]
    return Divergence(global_mean(model.backbone.divergences(tuned, base)), len(positions))


def _warn_of_unknown(model: "SALM", batch: dict[str, Any]) -> None:
    """Says once that a clip's words are not known, so that nothing is distilled from its conversation."""
    if model.told_of_unknown_words:
        return
    for conversation in batch["conversations"]:
        if answers_words(conversation) and (clip := unknown_clip(conversation)):
            from nemo.utils import logging

            model.told_of_unknown_words = True
            logging.warning(
                f"nemo_vtb: {conversation.id}: the words of {clip} are not known (no text with its audio turn), so "
                "model.spoken_kl leaves this conversation out, and others like it"
            )
            return


DIVERGENCES = {"text_kl": text_divergence, "spoken_kl": spoken_divergence}
