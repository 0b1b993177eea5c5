"""Answers from LLMs whose ``generate`` takes no embeddings, or that hear the padding of a batch."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from nemo_vtb.errors import VTBError
from nemo_vtb.modules.llm.parts import family

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@contextmanager
def embeddings_for_ids(llm: "PreTrainedModel", body: nn.Module, embeds: Tensor) -> Iterator[dict[str, Tensor]]:
    """Gives what ``generate`` is to be called with so that it begins with embeddings.

    Where a family's ``generate`` takes ids alone (Bamba, Falcon-H1), it gets ids that stand for nothing, and its text
    model the embeddings in their place.

    Args:
        llm: The causal LM.
        body: Its text model.
        embeds: ``(B, T, H)``.

    Raises:
        VTBError: If they were not taken.
    """
    if "inputs_embeds" in inspect.signature(llm.prepare_inputs_for_generation).parameters:
        yield {"inputs_embeds": embeds}
        return
    before, forward = body.__dict__.get("forward"), body.forward
    names = list(inspect.signature(type(body).forward).parameters)[1:]
    taken = False

    def begun(*args: Any, **kwargs: Any) -> Any:
        nonlocal taken
        kwargs = {**dict(zip(names, args, strict=False)), **kwargs}
        ids = kwargs.get("input_ids")
        if ids is not None and ids.shape[1] >= embeds.shape[1] > 1:
            taken = True
            begin = embeds.repeat_interleave(len(ids) // len(embeds), 0)
            # Without a cache every step begins with the prompt.
            said = llm.get_input_embeddings()(ids[:, embeds.shape[1] :])
            kwargs = {**kwargs, "input_ids": None, "inputs_embeds": torch.cat([begin, said.to(begin.dtype)], 1)}
        return forward(**kwargs)

    body.forward = begun
    try:
        yield {"input_ids": torch.zeros(embeds.shape[:2], dtype=torch.long, device=embeds.device)}
        if not taken:
            raise VTBError(f"the LLM {family(llm)} cannot be asked: its generate leaves the prompt's embeddings out")
    finally:
        del body.forward
        if before is not None:
            body.forward = before


def one_by_one(
    generate: Callable[..., Tensor],
    embeds: Tensor,
    attention_mask: Tensor,
    config: Any,
    gate: Tensor | None,
    ids: Tensor | None,
) -> Tensor:
    """Answers left-padded prompts one after another, without their padding.

    Args:
        generate: ``HFBackbone.generate``.
        embeds: ``(B, T, H)``.
        attention_mask: ``(B, T)``.
        config: Its padding fills answers up to the longest.
        gate: ``(B, 1, 1)``.
        ids: ``(B, T)``.
    """
    answers = []
    for row, mask in enumerate(attention_mask):
        own, start = slice(row, row + 1), int(mask.argmax())
        answers.append(
            generate(
                embeds[own, start:],
                attention_mask[own, start:],
                gate=None if gate is None else gate[own],
                ids=None if ids is None else ids[own, start:],
            )
        )
    rows = [row for answer in answers for row in answer]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=config.pad_token_id)
