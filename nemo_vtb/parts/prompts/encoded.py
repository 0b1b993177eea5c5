"""A conversation as tokens."""

from dataclasses import dataclass

import numpy as np


@dataclass  # not frozen: Lightning rebuilds the dataclasses of a batch when it moves it to a device
class EncodedConversation:
    """Token ids of a conversation, placeholders included.

    Attributes:
        input_ids: int64 ``(tokens,)``; each audio turn is one placeholder id.
        loss_mask: bool ``(tokens,)``; True where the token is a training target.
    """

    input_ids: np.ndarray
    loss_mask: np.ndarray
