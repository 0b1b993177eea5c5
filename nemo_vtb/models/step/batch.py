"""What a batch holds, whether it is ours or one of stock SALM."""

from typing import Any

from nemo_vtb.parts.prompts.encoded import EncodedConversation


def encoded_of(batch: dict[str, Any], pad_id: int) -> list[EncodedConversation]:
    """The conversations as tokens."""
    return batch["encoded"] if "encoded" in batch else _unpad(batch, pad_id)


def _unpad(batch: dict[str, Any], pad_id: int) -> list[EncodedConversation]:
    """Token lists from a stock SALM batch: padding is the run of pad ids on the left, whatever follows is text."""
    ids, masks = batch["input_ids"].cpu().numpy(), batch["loss_mask"].cpu().numpy()
    starts = [int((row != pad_id).argmax()) for row in ids]
    return [EncodedConversation(row[start:], mask[start:]) for row, mask, start in zip(ids, masks, starts, strict=True)]


def names_of(batch: dict[str, Any]) -> list[str] | None:
    """Ids of the conversations, if the batch knows them."""
    return [conversation.id for conversation in batch["conversations"]] if "conversations" in batch else None


def kinds_of(batch: dict[str, Any], count: int) -> list[str]:
    """The kind of each conversation."""
    return batch.get("kinds") or ["all"] * count
